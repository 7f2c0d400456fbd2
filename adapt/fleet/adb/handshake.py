"""The first packets of a link: who is there, and does it accept this host's key."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adb_shell import constants

from adapt.fleet.adb.keys import Key
from adapt.fleet.adb.packets import MAX_PAYLOAD_BYTES, STLS, VERSION, Packet, Packets
from adapt.fleet.link import STALL_SECONDS, Gone, Refused, TimedOut, Unauthorised

__all__ = ["PROMPT_SECONDS", "Banner", "greet"]

# How long the user of the phone has to accept the key.
PROMPT_SECONDS = 60.0
MIN_PAYLOAD_BYTES = 4096
# What a device asks this host to sign: a key signs nothing else.
TOKEN_BYTES = 20

_HOST = b"host::features=shell_v2\0"
_ACCEPT = "unlock the phone and accept the prompt `Allow USB debugging?`, then try again"


@dataclass(frozen=True, slots=True)
class Banner:
    """What a device says of itself when it lets a host in.

    `properties` are the few that come with it, such as "ro.product.model"; `max_payload` is the
    largest payload of a packet, bytes.
    """

    max_payload: int
    properties: Mapping[str, str]
    features: frozenset[str]


def greet(
    packets: Packets,
    key: Key,
    name: str,
    *,
    on_prompt: Callable[[], None] = lambda: None,
    prompt_seconds: float = PROMPT_SECONDS,
    answer_seconds: float | None = None,
) -> Banner:
    """Introduce this host to a device.

    `on_prompt` is called when the device asks its user, who has `prompt_seconds`; the device itself
    has `answer_seconds`, by default STALL_SECONDS. Unauthorised
    where the key is not accepted; Refused where the device wants what this link does not do;
    TimedOut and Gone.
    """
    packets.write(Packet(constants.CNXN, VERSION, MAX_PAYLOAD_BYTES, _HOST))
    signed = asked = False
    deadline = time.monotonic() + (answer_seconds or STALL_SECONDS)
    while True:
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                # A device may send packets without end that say nothing of this.
                raise TimedOut(f"{name} did not let this host in in time", "try again")
            packet = packets.read(left)
        except (TimedOut, Gone) as error:
            if asked:
                raise Unauthorised(f"{name} does not accept this host's key", _ACCEPT) from error
            if signed:
                # An adbd that has just been told off waits before it asks again.
                raise Unauthorised(f"{name} refused this host's key", _ACCEPT) from error
            raise
        if packet.command == constants.CNXN:
            return _banner(packets, packet)
        if packet.command == STLS:
            raise Refused(
                f"{name} asks for wireless debugging with TLS",
                "pair and connect it with `adb`: its server is used by itself",
            )
        if packet.command != constants.AUTH or packet.arg0 != constants.AUTH_TOKEN or asked:
            continue
        if not signed:
            if len(packet.data) != TOKEN_BYTES:
                raise Refused(
                    f"{name} asks for a signature of {len(packet.data)} bytes, not {TOKEN_BYTES}",
                    "is it a device with adb?",
                )
            signature = key.Sign(packet.data)
            packets.write(Packet(constants.AUTH, constants.AUTH_SIGNATURE, 0, signature))
            signed = True
        else:
            public = key.GetPublicKey() + b"\0"
            packets.write(Packet(constants.AUTH, constants.AUTH_RSAPUBLICKEY, 0, public))
            on_prompt()
            asked, deadline = True, time.monotonic() + prompt_seconds


def _banner(packets: Packets, packet: Packet) -> Banner:
    """The device's banner, such as b"device::ro.product.model=Pixel 6;features=cmd,shell_v2"."""
    packets.checksums = packet.arg0 < VERSION
    text = packet.data.decode(errors="replace").rstrip("\0")
    pairs = dict(part.split("=", 1) for part in text.partition("::")[2].split(";") if "=" in part)
    features = frozenset(pairs.pop("features", "").split(","))
    size = max(MIN_PAYLOAD_BYTES, min(packet.arg1, MAX_PAYLOAD_BYTES))
    return Banner(size, pairs, features)
