#!/bin/busybox sh
# The first process of a machine that is a host: this checkout's system, read only, with something
# on its USB.
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
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/shm /root/dev/pts
mount -t devpts pts /root/dev/pts
mount -t tmpfs -o size=1g tmp /root/dev/shm
ip link set lo up
inside() {
    chroot /root /usr/bin/env $(cat /environment) "$@"
}
. /usb.sh
echo "USB READY"
inside sh -c "$(cat /command)"
echo "USB ENDED: $?"
for log in /adbd.old /adbd.log; do [ ! -e $log ] || tail -n 60 $log; done
poweroff -f
