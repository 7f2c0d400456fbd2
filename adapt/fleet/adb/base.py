"""What links over adb have in common: all but how a stream is opened."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapt.fleet.adb import files, shell
from adapt.fleet.closing import Closing
from adapt.fleet.link import STALL_SECONDS, OnBytes, ShellResult, Stream

__all__ = ["AdbLink"]


class AdbLink(Closing):
    """A Link whose device has adb's service shell,v2."""

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self._properties: Mapping[str, str] | None = None
        self._asking = threading.Lock()

    @property
    def serial(self) -> str:
        """The device's own name."""
        return self._serial

    @abstractmethod
    def open_stream(self, destination: str) -> Stream:
        """Connect to a service of the device."""

    def properties(self) -> Mapping[str, str]:
        """What `getprop` says, read once; empty where there is none."""
        with self._asking:
            if self._properties is None:
                answer = self.shell(["getprop"], timeout_s=STALL_SECONDS)
                self._properties = _parsed(answer.stdout.decode(errors="replace"))
            return self._properties

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        """Run a program and wait for its end."""
        stream = self.open_stream(shell.service(command))
        return shell.run(stream, command[0], stdin, timeout_s)

    def push(
        self, local: Path, remote: str, *, mode: int = 0o644, on_progress: OnBytes | None = None
    ) -> None:
        """Make `remote` a copy of the file `local`."""
        files.push(self, local, remote, mode, on_progress)

    def read(self, remote: str, *, limit: int) -> bytes:
        """The content of the file `remote`, at most `limit` bytes."""
        return files.read(self, remote, limit)


def _parsed(text: str) -> dict[str, str]:
    """Lines such as "[ro.product.model]: [Pixel 6]"; a value may have several lines."""
    found = {}
    for entry in text.split("]\n"):
        name, _, value = entry.strip().removeprefix("[").partition("]: [")
        if name:
            found[name] = value
    return found
