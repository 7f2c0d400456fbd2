"""Files that are whole or absent, and a disk that says no."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adapt.errors import InputError

__all__ = ["DiskError", "disk_errors", "to_json", "write_file", "write_model"]


class DiskError(InputError):
    """A job's files cannot be read or written; the job can go on once they can."""


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Put `content` at `path`: all of it or nothing, whatever happens; the folder must exist.

    OSError where the disk refuses; what was at `path` is then still there.
    """
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # A full disk is glad of every byte.
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_model(path: Path, model: Any) -> None:
    """Put a Keras model at `path`, all of it or nothing; the folder must exist."""
    with tempfile.TemporaryDirectory(prefix="adapt-") as scratch:
        file = Path(scratch) / path.name
        model.save(file)
        write_file(path, file.read_bytes())


def to_json(values: BaseModel) -> bytes:
    """`values` as JSON that reads back to the same, NaN and infinite losses included."""
    # pydantic's own writer turns those into null, which is not a number any more.
    return json.dumps(values.model_dump(mode="json"), indent=1).encode()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses inside into DiskError; `folder` is named where no file is."""
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"cannot read or write {error.filename or folder}: {error.strerror or error}",
            "Make room, or mend the permissions.",
        ) from error
