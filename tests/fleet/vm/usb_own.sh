# USB whose device is this machine itself: Google's adbd behind a gadget.
mount -t configfs config /root/sys/kernel/config
root=/root owner=uid=0
. /gadget.sh
# This adbd waits for ever for a thread of its own once the bus was reset or the cable pulled, which
# a phone's does not: then it is started anew.
while :; do
    # Not `inside`: what is killed below has to be adbd itself.
    chroot /root /usr/bin/env $(cat /environment) $(cat /adbd) > /adbd.log 2>&1 &
    until grep -q "being destroyed" /adbd.log || [ ! -d /proc/$! ]; do sleep 0.2; done
    cat /adbd.log >> /adbd.old
    kill -9 $!
    wait $!
done 2> /dev/null &
# Plugged in whenever adbd has described the gadget, as Android's init does it: also behind a reset,
# at which adbd begins anew. A test that pulled the cable says so in a file.
while sleep 0.2; do
    if [ -e $functions/ep1 ] && [ ! -e /root/dev/shm/pulled ] && [ -z "$(cat $gadget/UDC)" ]; then
        plug
    fi
done &
until [ -n "$(cat $gadget/UDC)" ]; do sleep 0.2; done
