#!/bin/busybox sh
# The first process of a machine whose USB host and device are one: this checkout's system, read
# only, with Google's adbd behind a gadget.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
while read -r module; do
    options=
    [ "$module $ADAPT_USB_SPEED" = "dummy_hcd.ko super" ] && options=is_super_speed=1
    insmod "/modules/$module" $options || echo "NO MODULE $module"
done < /modules/order
mount -t 9p -o "ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose" root /root ||
    echo "NO ROOT"
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t configfs config /root/sys/kernel/config
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t devpts pts /root/dev/pts
mount -t tmpfs -o size=1g tmp /root/dev/shm
ip link set lo up

gadget=/root/sys/kernel/config/usb_gadget/adb
mkdir -p $gadget/strings/0x409 $gadget/configs/c.1/strings/0x409 $gadget/functions/ffs.adb
echo 0x18d1 > $gadget/idVendor
echo 0x0100 > $gadget/idProduct
echo "$ADAPT_USB" > $gadget/strings/0x409/serialnumber
echo "adb" > $gadget/strings/0x409/product
ln -s $gadget/functions/ffs.adb $gadget/configs/c.1
mkdir -p /root/dev/usb-ffs/adb
mount -t functionfs adb /root/dev/usb-ffs/adb
# This adbd waits for ever for a thread of its own once the bus was reset or the cable pulled, which
# a phone's does not: then it is started anew.
while :; do
    chroot /root /usr/bin/env $(cat /environment) $(cat /adbd) > /adbd.log 2>&1 &
    until grep -q "being destroyed" /adbd.log || [ ! -d /proc/$! ]; do sleep 0.2; done
    cat /adbd.log >> /adbd.old
    kill -9 $!
    wait $!
done 2> /dev/null &
# Plugged in whenever adbd has described the gadget, as Android's init does it: also behind a reset,
# at which adbd begins anew. A test that pulled the cable says so in a file.
while sleep 0.2; do
    if [ -e /root/dev/usb-ffs/adb/ep1 ] && [ ! -e /root/dev/shm/pulled ] &&
        [ -z "$(cat $gadget/UDC)" ]; then
        ls /root/sys/class/udc > $gadget/UDC
    fi
done &
until [ -n "$(cat $gadget/UDC)" ]; do sleep 0.2; done
echo "USB READY"
chroot /root /usr/bin/env $(cat /environment) sh -c "$(cat /command)"
echo "USB ENDED: $?"
tail -n 60 /adbd.old
tail -n 30 /adbd.log
poweroff -f
