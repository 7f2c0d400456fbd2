"""This machine behind the seam of a link, for what starts programs on a device."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from adapt.fleet.link import OnBytes, Refused, ShellResult, Stream, TimedOut

__all__ = ["LocalLink"]


class LocalLink:
    """A Link to this machine: its programs run as this user."""

    @property
    def serial(self) -> str:
        """What the user calls this machine."""
        return "local"

    def properties(self) -> Mapping[str, str]:
        """Nothing: this machine is no phone."""
        return {}

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        """Run a program with its arguments and wait for its end."""
        try:
            done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(
                f"{command[0]} did not end in {timeout_s:g} s", "look at what this machine does"
            ) from error
        except OSError as error:
            # As a shell says it.
            return ShellResult(127, b"", f"{command[0]}: {error.strerror}\n".encode())
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return ShellResult(code, done.stdout, done.stderr)

    def push(
        self, local: Path, remote: str, *, mode: int = 0o644, on_progress: OnBytes | None = None
    ) -> None:
        """Make `remote` a copy of the file `local`, at once or not at all."""
        part = f"{remote}.part"
        try:
            shutil.copyfile(local, part)
            if _digest(Path(part)) != _digest(local):
                raise Refused(f"{local} changed while it was copied", "try again")
            Path(part).chmod(mode)
            Path(part).replace(remote)
        except OSError as error:
            raise Refused(f"{remote}: {error.strerror}", "check the folder") from error
        if on_progress is not None:
            size = local.stat().st_size
            on_progress(size, size)

    def read(self, remote: str, *, limit: int) -> bytes:
        """The content of the file `remote`."""
        try:
            with Path(remote).open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise Refused(f"{remote}: {error.strerror}", "check its name and rights") from error
        if len(content) > limit:
            raise Refused(f"{remote} has more than {limit} bytes", "")
        return content

    def open_stream(self, destination: str) -> Stream:
        """Nothing: services of this machine are reached without a link."""
        raise Refused(f"no {destination} behind a link to this machine", "connect to it directly")

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
