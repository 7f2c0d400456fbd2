"""Put a USB device that another machine shares on the bus of this one.

    python attach.py HOST PORT SERIAL

The kernel speaks USB/IP with the other machine's on a connection that is made here. The exchange
that comes first between the two programs `usbip` is left out: there is one device alone.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

ATTACH = Path("/sys/devices/platform/vhci_hcd.0/attach")
DEVICES = Path("/sys/bus/usb/devices")
# A port of the first hub, a number for the device, and the kernel's number for USB 2's speed.
PORT, DEVICE, HIGH_SPEED = 0, 1 << 16 | 1, 3
SECONDS = 120
SILENT_SECONDS = 30


def main() -> None:
    """Return when the device is there."""
    host, port, serial = sys.argv[1:]
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A machine that ended says nothing; then the device is to be gone, as with a pulled cable.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
        ATTACH.write_text(f"{PORT} {connection.fileno()} {DEVICE} {HIGH_SPEED}")
    deadline = time.monotonic() + SECONDS
    while serial not in {file.read_text().strip() for file in DEVICES.glob("*/serial")}:
        if time.monotonic() > deadline:
            raise SystemExit(f"no device {serial} on the bus in {SECONDS} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
