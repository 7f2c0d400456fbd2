"""Devices with adb: which there are, and the link that fits each."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path

from adapt.fleet.adb.direct import DirectLink
from adapt.fleet.adb.keys import Key, own_key
from adapt.fleet.adb.server import Listed, Server, ServerLink
from adapt.fleet.adb.transport import Tcp
from adapt.fleet.adb.usb import ANSWER_SECONDS, Usb, usb_serials
from adapt.fleet.link import Gone, Link, LinkError, TimedOut

__all__ = ["can_be", "listed", "open_link", "over_usb"]

# A device that was reset is back within these.
RESET_SECONDS = 8.0
RETRY_SECONDS = 0.25

# How adb calls a device on the network.
_ON_NETWORK = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})")


def listed() -> list[Listed]:
    """The devices with adb that are plugged in here, or that a running adb server knows."""
    known = Server().devices() or []
    try:
        plugged = usb_serials()
    except LinkError:
        plugged = []
    serials = {entry.serial for entry in known}
    return [
        *known,
        *(Listed(serial, "plugged in", "") for serial in plugged if serial not in serials),
    ]


def can_be(name: str) -> bool:
    """Whether a device with adb may have this name: it is listed, or an address."""
    return _address(name) is not None or name in {entry.serial for entry in listed()}


def open_link(serial: str, home: Path, on_prompt: Callable[[], None] = lambda: None) -> Link:
    """A link to the device that adb calls `serial`; `home` keeps this host's key.

    A running adb server that lists the device is used: it holds it on USB, and speaks what a
    device on Wi-Fi asks for. Else the device is spoken to directly; then `on_prompt` is called
    when it asks its user to accept the key. Raises LinkError and its kinds.
    """
    if any(entry.serial == serial for entry in Server().devices() or []):
        return ServerLink(serial)
    key = own_key(home / "adb")
    address = _address(serial)
    if address is not None:
        return DirectLink(serial, Tcp(*address), key, on_prompt=on_prompt)
    return over_usb(serial, key, on_prompt)


def over_usb(serial: str, key: Key, on_prompt: Callable[[], None] = lambda: None) -> DirectLink:
    """A link to the device plugged in here; raises LinkError and its kinds.

    A host that was killed in the middle of a packet has left the device waiting for the rest, and
    taking all that comes for it: a device that does not answer is reset once.
    """

    def link() -> DirectLink:
        return DirectLink(
            serial, Usb(serial), key, on_prompt=on_prompt, answer_seconds=ANSWER_SECONDS
        )

    with contextlib.suppress(TimedOut, Gone):
        return link()
    # Raises where it is not plugged in, which nothing helps.
    transport = Usb(serial)
    transport.reset()
    transport.close()
    deadline = time.monotonic() + RESET_SECONDS
    while True:
        try:
            return link()
        except Gone:
            if time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_SECONDS)


def _address(name: str) -> tuple[str, int] | None:
    """Host and port of a device on the network; None where the name is none."""
    match = _ON_NETWORK.fullmatch(name)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        return None
    return match["host"].strip("[]"), int(match["port"])
