"""What users read of faults on USB; what causes them is in test_usb.py, which needs USB."""

from __future__ import annotations

import pytest

usb1 = pytest.importorskip("usb1", exc_type=OSError, reason="libusb is not installed")

from adb_shell.exceptions import UsbReadFailedError, UsbWriteFailedError  # noqa: E402

from adapt.fleet.adb.usb import in_words  # noqa: E402

PROGRAMMERS = "Could not send data to  (timeout 10000ms)"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (UsbWriteFailedError(PROGRAMMERS, usb1.USBErrorTimeout()), "it takes no more data"),
        (UsbReadFailedError(PROGRAMMERS, usb1.USBErrorNoDevice()), "it is no longer plugged in"),
        (usb1.USBErrorNoDevice(), "it is no longer plugged in"),
        (UsbReadFailedError(PROGRAMMERS, usb1.USBErrorIO()), "LIBUSB_ERROR_IO [-1]"),
        (UsbWriteFailedError(PROGRAMMERS, None), "it was closed"),
        ("it takes no more data", "it takes no more data"),
    ],
)
def test_a_fault_in_words(fault: object, words: str) -> None:
    assert in_words(fault) == words
