"""A program that runs on a device for as long as this host wants it to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from adapt.fleet.adb import shell
from adapt.fleet.adb.shell import Pipe
from adapt.fleet.link import Gone, Link, LinkError, TimedOut

__all__ = ["Program"]

CLOSE_SECONDS = 3.0
MAX_LINE_BYTES = 4096
MAX_LAST_WORDS = 4096


class Program:
    """A program just started on the device of `link`, which is to end when its stdin does.

    A newline is written to it every `heartbeat_s` seconds, so that it can tell a host that
    vanished from one that has nothing to say: of some ends a device hears nothing.
    """

    def __init__(self, link: Link, command: Sequence[str], heartbeat_s: float) -> None:
        self._name = command[0]
        self._stream = link.open_stream(shell.service(command))
        self._changed = threading.Condition()
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._exit_code: int | None = None
        self._error: LinkError | None = None
        self._over = False
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._spawn(self._collect)
        self._spawn(self._beat, heartbeat_s)

    def write(self, data: bytes) -> None:
        """Write to its stdin; raises what Stream.write does."""
        self._stream.write(shell.packed(Pipe.STDIN, data))

    def line(self, timeout_s: float) -> bytes:
        """The first line of its stdout.

        TimedOut where it does not come in time; Gone where the link breaks or the program ends.
        """
        with self._changed:
            ready = lambda: b"\n" in self._stdout or self._over  # noqa: E731
            if not self._changed.wait_for(ready, timeout_s):
                raise TimedOut(f"{self._name} said nothing for {timeout_s:g} s", "try again")
            line, newline, _ = bytes(self._stdout).partition(b"\n")
        if not newline:
            raise self._error or Gone(f"{self._name} ended at once")
        return line

    def ended(self, timeout_s: float) -> int | None:
        """Its exit status; None where it has none after `timeout_s`, or the link broke."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, timeout_s)
            return self._exit_code

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        with self._changed:
            return self._stderr.decode(errors="replace")

    def close(self) -> None:
        """End its stdin, and wait a little for its end; may be called twice."""
        if not self._ending.is_set():
            self._ending.set()
            # A link that stalls must not keep this from ending.
            self._spawn(self._end_stdin)
            self.ended(CLOSE_SECONDS)
            self._stream.close()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _end_stdin(self) -> None:
        with contextlib.suppress(LinkError):
            self._stream.write(shell.packed(Pipe.CLOSE_STDIN))

    def _collect(self) -> None:
        try:
            for pipe, data in shell.unpacked(self._stream, None):
                with self._changed:
                    if pipe is Pipe.STDOUT:
                        self._stdout = (self._stdout + data)[:MAX_LINE_BYTES]
                    elif pipe is Pipe.STDERR:
                        self._stderr = (self._stderr + data)[-MAX_LAST_WORDS:]
                    else:
                        self._exit_code = data[0] if data else 0
                    self._changed.notify_all()
        except LinkError as error:
            self._error = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _beat(self, seconds: float) -> None:
        with contextlib.suppress(LinkError):
            while not self._ending.wait(seconds) and not self._over:
                # A device that slept for a while is awake again, perhaps before the program ends.
                with contextlib.suppress(TimedOut):
                    self.write(b"\n")
