"""Programs on a device through the service shell,v2: three pipes and an exit status on a stream."""

from __future__ import annotations

import contextlib
import shlex
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from enum import IntEnum

from adapt.fleet.link import Gone, LinkError, Refused, ShellResult, Stream, TimedOut

__all__ = ["MAX_OUTPUT_BYTES", "Pipe", "packed", "run", "service", "unpacked"]

# What a program may write before it is given up.
MAX_OUTPUT_BYTES = 16 << 20
# Of one packet; the device's own limit is that of adb's packets.
MAX_PACKET_BYTES = 1 << 20
# Larger ones are no faster.
CHUNK_BYTES = 256 << 10
_HEADER = struct.Struct("<BI")


class Pipe(IntEnum):
    """What a packet of shell,v2 carries; adb's numbers."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    EXIT = 3
    CLOSE_STDIN = 4


def service(command: Sequence[str]) -> str:
    """The destination that runs a program with its arguments, each taken literally."""
    return f"shell,v2,raw:{shlex.join(command)}"


def packed(pipe: Pipe, data: bytes = b"") -> bytes:
    """One packet for the device."""
    return _HEADER.pack(pipe, len(data)) + data


def unpacked(stream: Stream, deadline: float | None) -> Iterator[tuple[Pipe, bytes]]:
    """The device's packets until its exit status, which comes last.

    `deadline`: of time.monotonic, None for none. TimedOut after it; Gone where the stream ends
    without an exit status, or makes no sense.
    """
    buffer = bytearray()
    while True:
        while len(buffer) >= _HEADER.size:
            number, length = _HEADER.unpack_from(buffer)
            if number not in (Pipe.STDOUT, Pipe.STDERR, Pipe.EXIT) or length > MAX_PACKET_BYTES:
                raise Gone("the device's shell makes no sense", "plug it in again")
            if len(buffer) < _HEADER.size + length:
                break
            yield Pipe(number), bytes(buffer[_HEADER.size : _HEADER.size + length])
            if number == Pipe.EXIT:
                return
            del buffer[: _HEADER.size + length]
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            # Empty packets may come without end.
            raise TimedOut("the program did not end in time", "try again")
        chunk = stream.read(left)
        if not chunk:
            raise Gone("the device ended a program's output before the program", "try again")
        buffer += chunk


def run(stream: Stream, name: str, stdin: bytes, timeout_s: float) -> ShellResult:
    """Feed the program of an opened stream, and wait for its end; `name` is for messages.

    Closes the stream. TimedOut, Gone; Refused for more output than MAX_OUTPUT_BYTES.
    """
    output = {Pipe.STDOUT: bytearray(), Pipe.STDERR: bytearray(), Pipe.EXIT: bytearray()}
    feeder = threading.Thread(target=_feed, args=(stream, stdin), daemon=True)
    feeder.start()
    try:
        for pipe, data in unpacked(stream, time.monotonic() + timeout_s):
            output[pipe] += data
            if len(output[pipe]) > MAX_OUTPUT_BYTES:
                raise Refused(f"{name} wrote more than {MAX_OUTPUT_BYTES} bytes", "ask for less")
    except TimedOut as error:
        raise TimedOut(f"{name} did not end within {timeout_s:g} s", "try again") from error
    finally:
        stream.close()
        feeder.join()
    return ShellResult(
        output[Pipe.EXIT][0] if output[Pipe.EXIT] else 0,
        bytes(output[Pipe.STDOUT]),
        bytes(output[Pipe.STDERR]),
    )


def _feed(stream: Stream, stdin: bytes) -> None:
    # A program may end before it has read all; a link that broke is noticed by the reader.
    with contextlib.suppress(LinkError):
        for start in range(0, len(stdin), CHUNK_BYTES):
            stream.write(packed(Pipe.STDIN, stdin[start : start + CHUNK_BYTES]))
        stream.write(packed(Pipe.CLOSE_STDIN))
