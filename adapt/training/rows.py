"""The inputs of a data set: in memory where they fit, else in a file that is read in parts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from adapt.errors import InputError

__all__ = [
    "MAX_BYTES", "FileRows", "Room", "RowWriter", "Rows", "available_bytes", "format_shape",
    "in_parts", "refuse_too_large",
]  # fmt: skip

# Where there is no place for files, examples are kept in memory, as bytes where they came as bytes.
# Beyond this a machine of ordinary size would start to swap.
MAX_BYTES: Final = 8 << 30

# What examples leave free on a disk.
_LEAST_FREE: Final = 256 << 20

# Where nothing tells how much memory is free.
_ASSUMED_BYTES: Final = 1 << 50

# Bytes of a part of a data set that is looked at piece by piece.
_PART: Final = 64 << 20


class FileRows:
    """Rows [N, ...] of a file of raw bytes, read when they are asked for.

    They are read, not mapped: pages of a map count as the program's memory, and end it where the
    disk fails.
    """

    _file = -1

    def __init__(
        self, path: Path, dtype: np.dtype, row: tuple[int, ...], index: np.ndarray
    ) -> None:
        """Those at `index` of the file's rows, each of shape `row`."""
        self.path, self.dtype, self.index = path, np.dtype(dtype), index
        self._row = row
        self._row_bytes = int(np.prod(row)) * self.dtype.itemsize
        self._file = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self.index), *self._row)

    def chosen(self, index: np.ndarray) -> FileRows:
        """The rows at `index` of these."""
        return FileRows(self.path, self.dtype, self._row, self.index[index])

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        """The rows of `part`, read into memory."""
        numbers = self.index[part]
        rows = np.empty((len(numbers), *self._row), self.dtype)
        flat = rows.view(np.uint8).reshape(len(numbers), self._row_bytes)
        for number, buffer in zip(numbers.tolist(), flat, strict=True):
            read = os.preadv(self._file, [buffer.data], number * self._row_bytes)
            if read != self._row_bytes:
                raise InputError(f"{self.path} has lost a part", "Start the job anew.")
        return rows

    def __iter__(self) -> Iterator[np.ndarray]:
        for part in in_parts(self):
            yield from part


Rows = np.ndarray | FileRows
"""Inputs [N, ...]; a part of them, by slice or array of numbers, is an array."""


def in_parts(rows: Rows) -> Iterator[np.ndarray]:
    """All of `rows`, so many at a time that memory does not notice."""
    each = max(int(np.prod(rows.shape[1:])) * rows.dtype.itemsize, 1)
    step = max(1, _PART // each)
    for first in range(0, len(rows), step):
        yield rows[first : first + step]


@dataclass
class Room:
    """Where inputs go: `left` bytes of memory, then files in `folder`, made where it is needed."""

    folder: Path
    left: int


class RowWriter:
    """Takes inputs as they are read: into memory while `room` has some, then into the file `name`.

    Without a room, all stays in memory, up to MAX_BYTES; `source` is who is blamed for more.
    """

    def __init__(self, source: str, name: str, room: Room | None) -> None:
        self._source, self._name, self._room = source, name, room
        self._held: list[np.ndarray] = []
        self._like: np.ndarray | None = None
        self._path: Path | None = None
        self.count = 0
        self._bytes = 0

    def expect(self, size: int) -> None:
        """Be told that so many bytes are to come; InputError where they are too many."""
        if self._room is None:
            refuse_too_large(self._source, size)

    def add(self, rows: np.ndarray) -> None:
        """Take `rows` [n, ...]; ValueError where they are not like those before."""
        like = self._like = rows[:0].copy() if self._like is None else self._like
        if (rows.shape[1:], rows.dtype) != (like.shape[1:], like.dtype):
            shapes = format_shape(like.shape[1:]), format_shape(rows.shape[1:])
            raise ValueError(f"inputs are {shapes[0]} and {shapes[1]}")
        self.count += len(rows)
        self._bytes += rows.nbytes
        if self._room is None:
            refuse_too_large(self._source, self._bytes)
        elif self._bytes > self._room.left:
            self._write(self._room, rows)
            return
        self._held.append(rows)

    def rows(self) -> Rows:
        """All that was added, which is something."""
        if self._path is not None and self._like is not None:
            row = self._like.shape[1:]
            return FileRows(self._path, self._like.dtype, row, np.arange(self.count))
        if self._room is not None:
            self._room.left -= self._bytes
        return self._joined()

    def _write(self, room: Room, rows: np.ndarray) -> None:
        """Put what was held, and `rows`, into the file."""
        if self._path is None:
            room.folder.mkdir(parents=True, exist_ok=True)
            self._path = room.folder / self._name
            self._path.write_bytes(b"")
        for part in (*self._held, rows):
            if shutil.disk_usage(room.folder).free < part.nbytes + _LEAST_FREE:
                raise InputError(
                    f"{self._source} does not fit on the disk of {room.folder}",
                    "Make room, or name a folder on another disk with --output.",
                )
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(part).data)
        self._held.clear()

    def _joined(self) -> np.ndarray:
        """What is held as one array; parts are let go of on the way."""
        held, self._held = self._held[::-1], []
        if len(held) == 1:
            return held[0]
        whole = np.empty((self.count, *held[0].shape[1:]), held[0].dtype)
        first = 0
        while held:
            part = held.pop()
            whole[first : first + len(part)] = part
            first += len(part)
        return whole


def available_bytes() -> int:
    """Memory that processes can still take: of this machine, or of the control group if less."""
    found = [_ASSUMED_BYTES]
    with suppress(OSError, ValueError, IndexError):
        (line,) = [x for x in Path("/proc/meminfo").read_text().splitlines() if "Available" in x]
        found.append(1024 * int(line.split()[1]))
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())
        found.append(max(limit - int((group / "memory.current").read_text()), 0))
    return min(found)


def refuse_too_large(source: str, size: int) -> None:
    """InputError where `size` bytes of examples from `source` are more than memory should take."""
    if size > MAX_BYTES:
        raise InputError(
            f"{source} takes {size / 2**30:.1f} GiB in memory, more than"
            f" {MAX_BYTES / 2**30:.3g} GiB",
            "Give a part of it.",
        )


def format_shape(shape: Iterable[int]) -> str:
    """A shape for people, e.g. 32x32x3."""
    return "x".join(map(str, shape)) or "single numbers"
