"""The interpolated times that a job has priced networks with.

A resumed job must see the prices that it saw before, whatever was measured since: each guess is a
line of prices.jsonl, on the disk before any choice rests on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from adapt.errors import InputError
from lookup_tables.kernel import Kernel

__all__ = ["PriceFile"]

# A line holds two numbers, a word and a key; no job asks about as many kernels as fit in this.
_MAX_BYTES = 1 << 30


class PriceFile:
    """The file at `path`, read once and only added to; there need not be one yet.

    Raises InputError where the file is not one of ours, OSError where the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, str], tuple[float, float]] = {}
        if path.exists():
            self._read()

    def get(self, quantity: str, kernel: Kernel) -> tuple[float, float] | None:
        """Microseconds and relative error that were kept of `kernel`; None where nothing was."""
        return self._known.get((quantity, kernel.key))

    def keep(self, guesses: Mapping[tuple[str, Kernel], tuple[float, float]]) -> None:
        """Add `guesses`, by quantity and kernel; on the disk when this returns."""
        lines = []
        for (quantity, kernel), values in guesses.items():
            self._known[quantity, kernel.key] = values
            lines.append(json.dumps([quantity, kernel.key, *values]) + "\n")
        with self._path.open("ab") as file:
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> None:
        if self._path.stat().st_size > _MAX_BYTES:
            raise self._damaged("it is too large")
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # Killed while it wrote: nothing rests on half a line.
            os.truncate(self._path, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                quantity, key, us, error = json.loads(line)
                self._known[str(quantity), str(key)] = (float(us), float(error))
            except (ValueError, TypeError) as fault:
                raise self._damaged(f"line {number} is none of ours") from fault

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self._path} cannot be used: {why}", "Start the job anew.")
