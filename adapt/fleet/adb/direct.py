"""A link to a device's adbd itself, with no adb server."""

from __future__ import annotations

from collections.abc import Callable

from adapt.fleet.adb.base import AdbLink
from adapt.fleet.adb.handshake import PROMPT_SECONDS, greet
from adapt.fleet.adb.keys import Key
from adapt.fleet.adb.mux import Multiplexer, MuxStream
from adapt.fleet.adb.packets import Packets
from adapt.fleet.adb.transport import Transport
from adapt.fleet.link import Refused

__all__ = ["DirectLink"]


class DirectLink(AdbLink):
    """A Link over `transport`, which it owns from now on: also where it raises.

    What `on_prompt`, `prompt_seconds` and `answer_seconds` are, and what is raised: see
    `handshake.greet`.
    """

    def __init__(
        self,
        serial: str,
        transport: Transport,
        key: Key,
        *,
        on_prompt: Callable[[], None] = lambda: None,
        prompt_seconds: float = PROMPT_SECONDS,
        answer_seconds: float | None = None,
    ) -> None:
        super().__init__(serial)
        packets = Packets(transport)
        try:
            banner = greet(
                packets,
                key,
                serial,
                on_prompt=on_prompt,
                prompt_seconds=prompt_seconds,
                answer_seconds=answer_seconds,
            )
            if "shell_v2" not in banner.features:
                raise Refused(f"the adb of {serial} is too old", "Android 7 or newer is needed")
        except BaseException:
            packets.close()
            raise
        self.banner = banner
        self._mux = Multiplexer(packets, banner.max_payload, serial)

    def open_stream(self, destination: str) -> MuxStream:
        """Connect to a service of the device."""
        return self._mux.open(destination)

    def close(self) -> None:
        """Let go of the device."""
        self._mux.close()
