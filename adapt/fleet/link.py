"""The seam to a device on which programs can be started: what every link offers, and its errors.

A link carries bytes and starts programs; it knows nothing of measuring. The agent that it starts
is a Device (`fleet.device`), as one on this machine is.

    DeviceError
    └── LinkError       of a link, none of the below
        ├── Unauthorised    the device does not accept this host's key, or waits for its user
        ├── Gone            the device was unplugged, switched off, or its connection broke
        ├── TimedOut        the device is there and did not answer in time
        └── Refused         the device answered, and will not do this
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from adapt.errors import DeviceError

__all__ = [
    "STALL_SECONDS",
    "Gone",
    "Link",
    "LinkError",
    "OnBytes",
    "Refused",
    "ShellResult",
    "Stream",
    "TimedOut",
    "Unauthorised",
]

# A device that takes or gives no byte for so long, where it should, is given up.
STALL_SECONDS = 10.0

# Called with the bytes done so far, and all there are.
OnBytes = Callable[[int, int], None]


class LinkError(DeviceError):
    """A link that cannot be used, for a reason that its subclasses do not cover."""


class Unauthorised(LinkError):
    """The device does not accept this host's key, or still waits for its user to."""


class Gone(LinkError):
    """The device was unplugged or switched off, or its connection broke; trying again may help."""


class TimedOut(LinkError):
    """The device is there and did not answer in time."""


class Refused(LinkError):
    """The device answered, and will not do what it was asked."""


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Stream(Protocol):
    """Bytes both ways between this host and a service of the device.

    One thread may read while another writes. Flow is controlled: a reader that takes nothing
    stops the device from sending, and a device that takes nothing stops the writer.
    """

    def read(self, timeout_s: float | None = None) -> bytes:
        """What has come, at least one byte; b"" at the end. None waits for as long as it takes.

        Raises TimedOut where nothing came in time, Gone where the link broke.
        """

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises Refused where the device has closed the stream, TimedOut where it takes nothing
        for STALL_SECONDS, Gone where the link broke.
        """

    def close(self) -> None:
        """End both directions; a reader in another thread then reads b"". May be called twice."""


class Link(Protocol):
    """A connection to one device; a context manager. Its methods may be called by any thread.

    All methods raise the errors above.
    """

    @property
    def serial(self) -> str:
        """The device's own name, as `adb devices` shows it."""

    def properties(self) -> Mapping[str, str]:
        """What `getprop` of an Android device says, read once; empty where there is no getprop."""

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        """Run a program with its arguments, each taken literally, and wait for its end.

        A script is `["sh", "-c", SCRIPT, "sh", ARGUMENT ...]`. TimedOut where the program has not
        ended after `timeout_s`, which ends its stdin and stdout; Refused where it writes more than
        shell.MAX_OUTPUT_BYTES.
        """

    def push(
        self, local: Path, remote: str, *, mode: int = 0o644, on_progress: OnBytes | None = None
    ) -> None:
        """Make `remote`, an absolute path in an existing folder, a copy of the file `local`.

        What an interrupted push of the same content left is gone on with. The copy is compared by
        its SHA-256, and then takes its place at once: nobody ever sees half of it. Where it is
        there already, only its mode is set. Refused with the device's words where it cannot.
        """

    def read(self, remote: str, *, limit: int) -> bytes:
        """The content of the file `remote`; Refused where it has more than `limit` bytes."""

    def open_stream(self, destination: str) -> Stream:
        """Connect to a service of the device, such as "localabstract:NAME".

        Refused where nobody serves it.
        """

    def close(self) -> None:
        """Let go of the device: all streams end. May be called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
