#!/system/bin/sh
# The first process of the phone: all that it has is what is mounted and loaded here.
export PATH=/system/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs -o size=1g,mode=0771 data /data
mkdir -p /data/local/tmp
chown 2000:2000 /data/local/tmp
while read -r module; do
    insmod "/vendor/$module" || echo "NO MODULE $module"
done < /vendor/modules
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
echo "PHONE $(uname -r)"
lib=/apex/adbd/lib64
# start-stop-daemon looks the user up; a phone has no such file.
mkdir /etc
echo shell:x:2000:2000::/:/bin/sh > /etc/passwd
if [ -n "$ADAPT_USB" ]; then
    mount -t configfs config /sys/kernel/config
    root= owner=uid=2000,gid=2000
    . /vendor/gadget.sh
    # The cable is whoever connects: the kernel takes the connection over, and speaks USB/IP on it.
    (until [ -e $functions/ep1 ]; do sleep 1; done
    plug
    nc -l -p "$PORT" -e sh -c "echo 0 > /sys/devices/platform/usbip-vudc.0/usbip_sockfd"
    echo "PHONE PLUGGED IN: $?") &
else
    export ADBD_PORT="$PORT"
fi
# adbd tells nobody when it listens.
(until netstat -ltn | grep -q ":$PORT "; do sleep 1; done; rm -r /etc; echo PHONE READY) &
start-stop-daemon -S -c 2000:2000 -x "$lib/ld-linux-aarch64.so.1" -- \
    --library-path "$lib" /apex/adbd/bin/adbd
echo "PHONE ENDED: adbd $?"
poweroff -f
