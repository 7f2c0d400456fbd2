"""This machine behind the seam of a link, for what starts programs on a device."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapt.fleet.adb.shell import MAX_OUTPUT_BYTES
from adapt.fleet.closing import Closing
from adapt.fleet.link import OnBytes, Refused, ShellResult, Stream, TimedOut

__all__ = ["LocalLink"]

CHUNK_BYTES = 64 << 10


class LocalLink(Closing):
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
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            # As a shell says it.
            return ShellResult(127, b"", f"{command[0]}: {error.strerror}\n".encode())
        with process:
            try:
                stdout, stderr = _served(process, command[0], stdin, timeout_s)
            except BaseException:
                # With what it has started, which would hold its pipes.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return ShellResult(code, stdout, stderr)

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


def _served(
    process: subprocess.Popen[bytes], name: str, stdin: bytes, timeout_s: float
) -> tuple[bytes, bytes]:
    """Feed a program, and what it wrote until its end; TimedOut, Refused for too much of it."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + timeout_s
    outputs = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    late = TimedOut(f"{name} did not end in {timeout_s:g} s", "look at what this machine does")
    left = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for number in outputs:
            selector.register(number, selectors.EVENT_READ)
        if left:
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
        else:
            process.stdin.close()
        while selector.get_map():
            if time.monotonic() >= deadline:
                raise late
            for key, _ in selector.select(deadline - time.monotonic()):
                if key.fd not in outputs:
                    try:
                        # So much never blocks.
                        left = left[os.write(key.fd, left[: select.PIPE_BUF]) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        selector.unregister(key.fd)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fd)
                outputs[key.fd] += chunk
                if len(outputs[key.fd]) > MAX_OUTPUT_BYTES:
                    raise Refused(
                        f"{name} wrote more than {MAX_OUTPUT_BYTES} bytes", "ask for less"
                    )
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired as error:
        raise late from error
    stdout, stderr = outputs.values()
    return bytes(stdout), bytes(stderr)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
