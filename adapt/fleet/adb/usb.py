"""adb's packets over USB: adb-shell's transport, with its faults mended.

It left out the empty packet that ends a transfer of whole packets, lost what had come when a read
timed out, and looked for devices once for a whole process. Nor did it take what a former host had
left on its way, which the next would read for an answer.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from adapt.fleet.adb.transport import PLUG
from adapt.fleet.link import STALL_SECONDS, Gone, LinkError, Refused, TimedOut

if TYPE_CHECKING:
    from adb_shell.transport.usb_transport import UsbTransport
    from usb1 import USBContext

__all__ = ["ANSWER_SECONDS", "Usb", "in_words", "usb_serials"]

CONNECT_SECONDS = 5.0
# A device that has nothing else to do answers in milliseconds.
ANSWER_SECONDS = 3.0
# A blocked read looks so often whether it is to end.
TURN_SECONDS = 0.25
# A device says nothing for so long where nothing is on its way: its packets follow each other
# within a millisecond.
QUIET_SECONDS = 0.05
# A multiple of all sizes of the bus's packets, for a device whose answer may have any length.
REST_BYTES = 16 << 10


class Usb:
    """A Transport to the device with this serial number, plugged in here.

    Gone where it is not, Refused where this user may not use it or an adb server holds it.
    """

    def __init__(self, serial: str) -> None:
        self._name = serial
        self._ending = False
        # Until it has answered, it may be one that takes nothing before it is reset.
        self._stall_s = ANSWER_SECONDS
        self._context = _opened()
        try:
            self._adb = _find(self._context, serial)
            self._claim()
            self._packet_bytes: int = self._adb._device.getMaxPacketSize(self._adb._write_endpoint)
            self._discard_rest()
        except BaseException:
            self._context.close()
            raise

    def read(self, size: int, timeout_s: float | None) -> bytes:
        """Exactly `size` bytes."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        found = bytearray()
        while len(found) < size:
            if self._ending:
                raise Gone(f"the link to {self._name} was closed")
            if deadline is not None and time.monotonic() > deadline:
                raise TimedOut(f"{self._name} did not answer in time", PLUG)
            found += self._turn(size - len(found), TURN_SECONDS)
        self._stall_s = STALL_SECONDS
        return bytes(found)

    def write(self, header: bytes, payload: bytes) -> None:
        """Send one packet; header and payload are transfers of their own on USB."""
        self._send(header)
        if payload:
            self._send(payload)
            if len(payload) % self._packet_bytes == 0:
                self._send(b"")

    def interrupt(self) -> None:
        """Let a blocked read in another thread end, within TURN_SECONDS."""
        self._ending = True

    def reset(self) -> None:
        """Let the device begin anew, as if it were plugged in again; it may be gone for a while."""
        from usb1 import USBError

        with contextlib.suppress(USBError):
            self._adb._transport.resetDevice()

    def close(self) -> None:
        """Give the interface back."""
        self._ending = True
        self._adb.close()
        self._context.close()

    def _claim(self) -> None:
        import usb1

        try:
            self._adb.connect(CONNECT_SECONDS)
        except usb1.USBErrorBusy as error:
            raise Refused(
                f"{self._name} is held by another program",
                "stop what uses it; a running adb server is used by itself once it lists the phone",
            ) from error
        except usb1.USBErrorAccess as error:
            raise Refused(
                f"this user may not use the USB device {self._name}",
                "install the udev rules of Android devices (package android-udev-rules or"
                " android-sdk-platform-tools-common), then plug the phone in again",
            ) from error
        except usb1.USBError as error:
            raise self._gone(error) from error

    def _discard_rest(self) -> None:
        """Take what the device still had to say to whoever used it before."""
        deadline = time.monotonic() + STALL_SECONDS
        while self._turn(REST_BYTES, QUIET_SECONDS):
            if time.monotonic() > deadline:
                raise Gone(f"{self._name} talks without end", PLUG)

    def _turn(self, size: int, seconds: float) -> bytes:
        """What comes within so long, at most `size` bytes."""
        from adb_shell.exceptions import UsbReadFailedError
        from usb1 import USBErrorTimeout

        try:
            return bytes(self._adb.bulk_read(size, seconds))
        except UsbReadFailedError as error:
            if isinstance(error.usb_error, USBErrorTimeout):
                return bytes(getattr(error.usb_error, "received", b""))
            raise self._gone(error) from error

    def _send(self, data: bytes) -> None:
        from adb_shell.exceptions import UsbWriteFailedError

        try:
            sent = self._adb.bulk_write(data, self._stall_s)
        except UsbWriteFailedError as error:
            raise self._gone(error) from error
        if sent != len(data):
            raise self._gone("it takes no more data")

    def _gone(self, why: object) -> Gone:
        return Gone(f"the link to {self._name} broke: {in_words(why)}", PLUG)


def in_words(why: object) -> str:
    """What a user reads of a fault: an error of adb-shell's, of libusb's, or words already."""
    from adb_shell.exceptions import UsbReadFailedError, UsbWriteFailedError
    from usb1 import USBErrorNoDevice, USBErrorTimeout

    if isinstance(why, (UsbReadFailedError, UsbWriteFailedError)):
        # A message for programmers, and libusb's error: None where that was not asked.
        _, why = why.args
    if isinstance(why, USBErrorTimeout):
        return "it takes no more data"
    if isinstance(why, USBErrorNoDevice):
        return "it is no longer plugged in"
    return "it was closed" if why is None else str(why)


def usb_serials() -> list[str]:
    """Serial numbers of the adb devices plugged in here, those that this user may not ask left out.

    Empty where there is no USB. LinkError where libusb is not installed.
    """
    context = _opened()
    try:
        return [serial for serial, _ in _attached(context)]
    finally:
        context.close()


def _opened() -> USBContext:
    """libusb anew: where no udev tells of devices, that alone looks which there are now."""
    try:
        import usb1
    except OSError as error:
        raise _without(error) from error
    try:
        return usb1.USBContext().open()
    except (OSError, usb1.USBError) as error:
        raise _without(error) from error


def _without(error: Exception) -> LinkError:
    return LinkError(f"USB cannot be used: {error}", "install libusb 1.0 (package libusb-1.0-0)")


def _find(context: USBContext, serial: str) -> UsbTransport:
    for found, transport in _attached(context):
        if found == serial:
            return transport
    raise Gone(f"no device {serial} is plugged in", "`adapt devices` lists those that are")


def _attached(context: USBContext) -> list[tuple[str, Any]]:
    import usb1
    from adb_shell.transport.usb_transport import UsbTransport, interface_matcher

    found = []
    wanted = interface_matcher(usb1.CLASS_VENDOR_SPEC, 0x42, 0x01)
    try:
        devices = context.getDeviceList(skip_on_error=True)
    except usb1.USBError:
        return []
    for device in devices:
        setting = wanted(device)
        with contextlib.suppress(usb1.USBError):
            if setting is not None:
                found.append((str(device.getSerialNumber()), UsbTransport(device, setting)))
    return found
