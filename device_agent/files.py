"""Small text files of the system, read below a root folder.

Systems hide files for many reasons: what cannot be read is empty, never an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

MAX_TEXT = 200
# The longest file of interest, /proc/cpuinfo, says all that is wanted of it at its head.
MAX_READ_BYTES = 64 * 1024
# Folders of a class of devices that are looked at, such as thermal zones.
MAX_FOLDERS = 128


def read_text(path: Path) -> str:
    """The head of a file, at most MAX_READ_BYTES; empty where it cannot be read."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            return (file.read(MAX_READ_BYTES) or b"").decode(errors="replace")
    except OSError:
        return ""


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, as for the other end where a pipe lies in place of a file."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_line(path: Path, limit: int = MAX_TEXT) -> str:
    """A file's text on one line, at most `limit` characters; empty where it cannot be read."""
    return clean(read_text(path), limit)


def read_integer(path: Path) -> int | None:
    """The integer that is all of a file; None where there is no such thing."""
    text = read_line(path)
    return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """`text` on one line, without control characters, at most `limit` characters."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:limit].strip()


def folders(parent: Path, pattern: str) -> Iterator[Path]:
    """What lies in `parent` under a name that `pattern` matches wholly, by name, bounded."""
    try:
        names = sorted(p.name for p in parent.iterdir() if re.fullmatch(pattern, p.name))
    except OSError:
        return
    for name in names[:MAX_FOLDERS]:
        yield parent / name
