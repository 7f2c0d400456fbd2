"""adb's packets, as adb-shell packs them, on a transport."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import ClassVar

from adb_shell import constants
from adb_shell.adb_message import AdbMessage, checksum, unpack

from adapt.fleet.adb.transport import Transport
from adapt.fleet.link import STALL_SECONDS, Gone, TimedOut

__all__ = ["MAX_PAYLOAD_BYTES", "VERSION", "Packet", "Packets"]

# adb's own limit, and the one that this host announces.
MAX_PAYLOAD_BYTES = constants.MAX_ADB_DATA
# From this version on payloads need no checksum; summing them up costs 8 ms each MiB.
VERSION = 0x01000001
# What a device says that wants TLS (wireless debugging); adb-shell does not know it.
STLS = b"STLS"

_COMMANDS = constants.WIRE_TO_ID | {int.from_bytes(STLS, "little"): STLS}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet; what its arguments mean depends on the command."""

    command: bytes
    arg0: int
    arg1: int
    data: bytes = b""


class _Unsummed(AdbMessage):  # type: ignore[misc]
    """A message between peers that agreed on no checksums."""

    checksum: ClassVar[int] = 0


class Packets:
    """Packets to and from one device. Any thread may write; one may read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._writing = threading.Lock()
        # Until both have told their versions.
        self.checksums = True

    def read(self, timeout_s: float | None) -> Packet:
        """The next packet. None waits for as long as it takes for one to begin.

        TimedOut where none begins; Gone where one does not end, or makes no sense.
        """
        header = self._transport.read(constants.MESSAGE_SIZE, timeout_s)
        number, arg0, arg1, length, summed = unpack(header)
        command = _COMMANDS.get(number)
        magic = int.from_bytes(header[-4:], "little")
        if command is None or number ^ magic != 0xFFFFFFFF or length > MAX_PAYLOAD_BYTES:
            raise _nonsense(f"a packet begins with {header.hex()}")
        try:
            data = self._transport.read(length, STALL_SECONDS) if length else b""
        except TimedOut as error:
            raise _nonsense("a packet broke off") from error
        if self.checksums and summed and checksum(data) != summed:
            raise _nonsense("a packet arrived damaged")
        return Packet(command, arg0, arg1, data)

    def write(self, packet: Packet) -> None:
        """Send one packet; Gone where it is not taken."""
        kind = AdbMessage if self.checksums else _Unsummed
        header = kind(packet.command, packet.arg0, packet.arg1, packet.data).pack()
        with self._writing:
            self._transport.write(header, packet.data)

    def interrupt(self) -> None:
        """Let a blocked read in another thread end as Gone."""
        self._transport.interrupt()

    def close(self) -> None:
        """Let go of the device; nobody may be reading any more."""
        self._transport.close()


def _nonsense(what: str) -> Gone:
    return Gone(f"the link broke: {what}", "check the cable or the network, then try again")
