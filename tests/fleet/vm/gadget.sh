# An adb gadget with the serial number ADAPT_USB, as Android's init makes it: for an adbd whose root
# is `root`, and whose user and group are mount options in `owner`. `plug` gives it a controller,
# for which adbd has to have described it.
gadget=$root/sys/kernel/config/usb_gadget/adb
functions=$root/dev/usb-ffs/adb
mkdir -p $gadget/strings/0x409 $gadget/configs/c.1/strings/0x409 $gadget/functions/ffs.adb
echo 0x18d1 > $gadget/idVendor
echo 0x0100 > $gadget/idProduct
echo "$ADAPT_USB" > $gadget/strings/0x409/serialnumber
echo "adb" > $gadget/strings/0x409/product
ln -s $gadget/functions/ffs.adb $gadget/configs/c.1
mkdir -p $functions
mount -t functionfs -o "$owner" adb $functions
plug() {
    ls $root/sys/class/udc > $gadget/UDC
}
