"""What carries adb's packets: adb-shell's transports, with their faults mended.

Over TCP they took a partial send for a whole one, so that pushes of 1 MiB failed on any real
network; let Nagle's algorithm delay each small packet by 40 ms; and took the end of the
connection for an empty packet. Over USB they left out the empty packet that ends a transfer of
whole packets, and lost what had come when a read timed out.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol

from adb_shell.transport.tcp_transport import TcpTransport

from adapt.fleet.link import STALL_SECONDS, Gone, LinkError, Refused, TimedOut

if TYPE_CHECKING:
    from adb_shell.transport.usb_transport import UsbTransport

__all__ = ["Tcp", "Transport", "Usb", "usb_serials"]

CONNECT_SECONDS = 5.0
# A peer that vanished without a word is noticed by the system after these.
KEEPALIVE_IDLE_SECONDS = 5
KEEPALIVE_PROBES = 3
# So small a payload travels in one system call with its header.
SMALL_BYTES = 32 * 1024
# A blocked read of USB looks so often whether it is to end.
USB_TURN_SECONDS = 0.25

_PLUG = "check the cable or the network, and that the device is on; then try again"


class Transport(Protocol):
    """Packets' bytes to and from one device. One thread may read while another writes."""

    def read(self, size: int, timeout_s: float | None) -> bytes:
        """Exactly `size` bytes. None waits for as long as it takes; Gone, TimedOut."""

    def write(self, header: bytes, payload: bytes) -> None:
        """Send one packet; Gone where it is not taken within STALL_SECONDS."""

    def interrupt(self) -> None:
        """Let a blocked read in another thread end as Gone."""

    def close(self) -> None:
        """Let go of the device; nobody may be reading any more."""


class Tcp:
    """A Transport to an adbd that listens on `host`:`port`; connects at once.

    Refused where nobody listens, Gone where there is no such host.
    """

    def __init__(self, host: str, port: int) -> None:
        self._where = f"{host}:{port}"
        self._adb = TcpTransport(host, port)
        try:
            self._adb.connect(CONNECT_SECONDS)
        except ConnectionRefusedError as error:
            raise Refused(
                f"nobody answers at {self._where}", "is adb over TCP enabled on the device?"
            ) from error
        except (OSError, UnicodeError, OverflowError) as error:
            # The latter two: of a name that no host can have, and of such a port.
            raise Gone(f"{self._where} cannot be reached: {error}", _PLUG) from error
        self._socket: socket.socket = self._adb._connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):  # Not on macOS.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)

    def read(self, size: int, timeout_s: float | None) -> bytes:
        """Exactly `size` bytes."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        buffer = bytearray(size)
        view, done = memoryview(buffer), 0
        while done < size:
            self._wait(select.POLLIN, deadline)
            try:
                count = self._socket.recv_into(view[done:])
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._gone(str(error)) from error
            if not count:
                raise self._gone("the connection was closed")
            done += count
        return bytes(buffer)

    def write(self, header: bytes, payload: bytes) -> None:
        """Send one packet, whole."""
        parts = [header + payload] if len(payload) <= SMALL_BYTES else [header, payload]
        for part in parts:
            view = memoryview(part)
            while view:
                try:
                    self._wait(select.POLLOUT, time.monotonic() + STALL_SECONDS)
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    continue
                except TimedOut as error:
                    raise self._gone("it takes no more data") from error
                except OSError as error:
                    raise self._gone(str(error)) from error

    def interrupt(self) -> None:
        """Let a blocked read in another thread end as Gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._adb.close()

    def _wait(self, event: int, deadline: float | None) -> None:
        poll = select.poll()
        try:
            poll.register(self._socket, event)
        except ValueError as error:
            raise self._gone("the connection was closed") from error
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if not poll.poll(left):
            raise TimedOut(f"{self._where} did not answer in time", _PLUG)

    def _gone(self, why: str) -> Gone:
        return Gone(f"the link to {self._where} broke: {why}", _PLUG)


class Usb:
    """A Transport to the device with this serial number, plugged in here.

    Gone where it is not, Refused where this user may not use it or an adb server holds it.
    """

    def __init__(self, serial: str) -> None:
        import usb1

        self._usb1 = usb1
        self._name = serial
        self._ending = False
        adb = _find(serial)
        try:
            adb.connect(CONNECT_SECONDS)
        except usb1.USBErrorBusy as error:
            raise Refused(
                f"{serial} is held by another program",
                "stop what uses it; a running adb server is used by itself once it lists the phone",
            ) from error
        except usb1.USBErrorAccess as error:
            raise Refused(
                f"this user may not use the USB device {serial}",
                "install the udev rules of Android devices (package android-udev-rules or"
                " android-sdk-platform-tools-common), then plug the phone in again",
            ) from error
        except usb1.USBError as error:
            raise self._gone(error) from error
        self._adb = adb
        self._packet_bytes: int = adb._device.getMaxPacketSize(adb._write_endpoint)

    def read(self, size: int, timeout_s: float | None) -> bytes:
        """Exactly `size` bytes."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        found = bytearray()
        while len(found) < size:
            if self._ending:
                raise Gone(f"the link to {self._name} was closed")
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut(f"{self._name} did not answer in time", _PLUG)
            found += self._turn(size - len(found))
        return bytes(found)

    def write(self, header: bytes, payload: bytes) -> None:
        """Send one packet; header and payload are transfers of their own on USB."""
        self._send(header)
        if payload:
            self._send(payload)
            if len(payload) % self._packet_bytes == 0:
                self._send(b"")

    def interrupt(self) -> None:
        """Let a blocked read in another thread end, within USB_TURN_SECONDS."""
        self._ending = True

    def close(self) -> None:
        """Give the interface back."""
        self._ending = True
        self._adb.close()

    def _turn(self, size: int) -> bytes:
        """What comes within one turn, at most `size` bytes."""
        from adb_shell.exceptions import UsbReadFailedError

        try:
            return bytes(self._adb.bulk_read(size, USB_TURN_SECONDS))
        except UsbReadFailedError as error:
            if isinstance(error.usb_error, self._usb1.USBErrorTimeout):
                return bytes(getattr(error.usb_error, "received", b""))
            raise self._gone(error) from error

    def _send(self, data: bytes) -> None:
        from adb_shell.exceptions import UsbWriteFailedError

        try:
            sent = self._adb.bulk_write(data, STALL_SECONDS)
        except UsbWriteFailedError as error:
            raise self._gone(error) from error
        if sent != len(data):
            raise self._gone("it takes no more data")

    def _gone(self, why: object) -> Gone:
        return Gone(f"the link to {self._name} broke: {why}", _PLUG)


def usb_serials() -> list[str]:
    """Serial numbers of the adb devices plugged in here, those that this user may not ask left out.

    Empty where there is no USB. LinkError where libusb is not installed.
    """
    return [serial for serial, _ in _attached()]


def _find(serial: str) -> UsbTransport:
    for found, transport in _attached():
        if found == serial:
            return transport
    raise Gone(f"no device {serial} is plugged in", "`adapt devices` lists those that are")


def _attached() -> list[tuple[str, Any]]:
    try:
        import usb1
        from adb_shell.transport.usb_transport import UsbTransport, interface_matcher
    except OSError as error:
        raise LinkError(
            f"USB cannot be used: {error}", "install libusb 1.0 (package libusb-1.0-0)"
        ) from error
    found = []
    wanted = interface_matcher(usb1.CLASS_VENDOR_SPEC, 0x42, 0x01)
    try:
        devices = UsbTransport.USB1_CTX.getDeviceList(skip_on_error=True)
    except usb1.USBError:
        return []
    for device in devices:
        setting = wanted(device)
        with contextlib.suppress(usb1.USBError):
            if setting is not None:
                found.append((str(device.getSerialNumber()), UsbTransport(device, setting)))
    return found
