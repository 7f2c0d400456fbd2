"""Locks on devices and jobs, which a kill frees."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapt.errors import Busy

__all__ = ["locked"]

# Digits of the largest process id.
_MAX_PID_TEXT = 32


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; Busy where another process holds it. Free again after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read(_MAX_PID_TEXT).strip()
            raise Busy(
                f"{what} is in use by process {holder or 'unknown'}",
                "Wait for it to end, or stop it.",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
