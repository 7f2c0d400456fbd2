"""What carries adb's packets: adb-shell's transports, with their faults mended.

Over TCP they took a partial send for a whole one, so that pushes of 1 MiB failed on any real
network; let Nagle's algorithm delay each small packet by 40 ms; and took the end of the
connection for an empty packet. For USB see `fleet.adb.usb`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Protocol

from adb_shell.transport.tcp_transport import TcpTransport

from adapt.fleet.link import STALL_SECONDS, Gone, Refused, TimedOut

__all__ = ["PLUG", "Tcp", "Transport"]

CONNECT_SECONDS = 5.0
# A peer that vanished without a word is noticed by the system after these.
KEEPALIVE_IDLE_SECONDS = 5
KEEPALIVE_PROBES = 3
# So small a payload travels in one system call with its header.
SMALL_BYTES = 32 * 1024

PLUG = "check the cable or the network, and that the device is on; then try again"


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
            raise Gone(f"{self._where} cannot be reached: {error}", PLUG) from error
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
            raise TimedOut(f"{self._where} did not answer in time", PLUG)

    def _gone(self, why: str) -> Gone:
        return Gone(f"the link to {self._where} broke: {why}", PLUG)
