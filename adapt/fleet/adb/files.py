"""Copies of files on a device, made with its own shell so that an interrupted one goes on.

adb's own file service can neither append nor say what arrived.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from adapt.errors import InputError
from adapt.fleet.adb import shell
from adapt.fleet.adb.shell import CHUNK_BYTES, Pipe
from adapt.fleet.link import STALL_SECONDS, Link, LinkError, OnBytes, Refused

__all__ = ["push", "read"]

# The slowest that a phone reads and digests a file, bytes a second.
DIGEST_RATE = 20e6
MAX_WORDS = 300
_SIZE = re.compile(r"[0-9]{1,15}")

# What is there: the digest of the file, then size and digest of what an interrupted push left.
_LOOK = """
[ -f "$1" ] && sha256sum < "$1" || echo none
[ -f "$2" ] && wc -c < "$2" && sha256sum < "$2" || echo 0
"""
_APPEND = 'if [ "$2" = 0 ]; then : > "$1"; fi && cat >> "$1"'
_PLACE = """
set -- "$1" "$2" "$3" "$(sha256sum < "$1")" "$4"
if [ "${4%% *}" != "$5" ]; then rm -f "$1"; echo damaged; exit 0; fi
chmod "$3" "$1" && mv -f "$1" "$2"
"""
_MODE = 'chmod "$2" "$1"'
_READ = (
    '[ "$(wc -c < "$1")" -le "$2" ] || { echo "it is larger than $2 bytes" >&2; exit 1; }; cat "$1"'
)


def push(link: Link, local: Path, remote: str, mode: int, on_progress: OnBytes | None) -> None:
    """Make `remote` a copy of `local`; see Link.push."""
    try:
        with local.open("rb") as file:
            size, digest = local.stat().st_size, _digest(file)
            seconds = STALL_SECONDS + size / DIGEST_RATE
            part = f"{remote}.{digest[:16]}.part"
            there, *left = _script(link, _LOOK, remote, part, seconds=seconds).split("\n")
            if there.split(" ")[0] == digest:
                _script(link, _MODE, remote, f"{mode:o}")
            else:
                start = _common(file, left)
                _append(link, file, part, start, size, on_progress)
                arguments = (part, remote, f"{mode:o}", digest)
                if "damaged" in _script(link, _PLACE, *arguments, seconds=seconds):
                    raise LinkError(f"{remote} arrived damaged at {link.serial}", "try again")
    except OSError as error:
        raise InputError(f"{local}: {error.strerror}") from error
    if on_progress is not None:
        on_progress(size, size)


def read(link: Link, remote: str, limit: int) -> bytes:
    """The content of `remote`; see Link.read."""
    seconds = STALL_SECONDS + limit / DIGEST_RATE
    result = link.shell(["sh", "-c", _READ, "sh", remote, str(limit)], timeout_s=seconds)
    if result.exit_code:
        raise _refused(link, f"{remote} cannot be read", result.stderr)
    return result.stdout


def _common(file: BinaryIO, left: list[str]) -> int:
    """How many bytes of `file` an interrupted push has brought, by what the device says of them."""
    told = left[0].strip() if left else ""
    size = int(told) if _SIZE.fullmatch(told) else 0
    if size and len(left) > 1 and left[1].split(" ")[0] == _digest(file, size):
        return size
    return 0


def _append(
    link: Link, file: BinaryIO, part: str, start: int, size: int, on_progress: OnBytes | None
) -> None:
    file.seek(start)
    stream = link.open_stream(shell.service(["sh", "-c", _APPEND, "sh", part, str(start)]))
    try:
        done = start
        while chunk := file.read(CHUNK_BYTES):
            stream.write(shell.packed(Pipe.STDIN, chunk))
            done += len(chunk)
            if on_progress is not None:
                on_progress(min(done, size), size)
    except Refused:
        # The device's `cat` has ended early; why, it says below.
        pass
    except BaseException:
        stream.close()
        raise
    result = shell.run(stream, "cat", b"", STALL_SECONDS)
    if result.exit_code:
        raise _refused(link, f"{part} cannot be written", result.stderr)


def _script(link: Link, script: str, *arguments: str, seconds: float = STALL_SECONDS) -> str:
    result = link.shell(["sh", "-c", script, "sh", *arguments], timeout_s=seconds)
    if result.exit_code:
        raise _refused(link, f"{arguments[0]} cannot be written", result.stderr)
    return result.stdout.decode(errors="replace")


def _refused(link: Link, what: str, stderr: bytes) -> Refused:
    words = " ".join(stderr.decode(errors="replace").split())[:MAX_WORDS]
    return Refused(f"{what} on {link.serial}: {words}", "mend that on the device, then try again")


def _digest(file: BinaryIO, size: int | None = None) -> str:
    """SHA-256 of the first `size` bytes, or all."""
    file.seek(0)
    digest, left = hashlib.sha256(), size
    while chunk := file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
        digest.update(chunk)
        left = None if left is None else left - len(chunk)
    return digest.hexdigest()
