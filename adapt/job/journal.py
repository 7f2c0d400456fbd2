"""The journal of a method: every step's state, and the weights of the last ones."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from adapt.errors import InputError
from adapt.job.account import Account
from adapt.job.files import to_json, write_file
from adapt.methods.base import State
from adapt.training.finetune import Checkpoint

__all__ = ["Journal", "Step"]

_ENTRY = re.compile(r"(\d{4,})\.json")

# The last checkpoint and the one before it, in case the disk loses the last.
_CHECKPOINTS_KEPT = 2

# What the readers of damaged JSON and .npz files raise.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


class _Entry(BaseModel):
    """The .json file of a step; `step` is that of the optimiser."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    state: State
    account: Account


@dataclass(frozen=True)
class Step:
    """A complete step: its number, what the method remembers, and the job's account by then."""

    number: int
    state: State
    checkpoint: Checkpoint
    account: Account


class Journal:
    """The steps of one method, in a folder; `complete` with the checkpoints of all of them."""

    def __init__(self, path: Path, *, complete: bool = False) -> None:
        self._path, self._complete = path, complete

    def append(self, step: Step) -> None:
        """Write `step` down; it counts once its state file stands."""
        self._path.mkdir(parents=True, exist_ok=True)
        arrays = io.BytesIO()
        np.savez(arrays, allow_pickle=False, **_named(step.checkpoint))
        write_file(self._checkpoint_file(step.number), arrays.getbuffer())
        entry = _Entry(step=step.checkpoint.step, state=step.state, account=step.account)
        write_file(self._state_file(step.number), to_json(entry))
        for number in [] if self._complete else self.numbers():
            if number <= step.number - _CHECKPOINTS_KEPT:
                self._checkpoint_file(number).unlink(missing_ok=True)

    def last(self) -> Step | None:
        """The last complete step; None before the first. InputError where none can be read."""
        numbers = self.numbers()
        for number in reversed(numbers):
            try:
                return self._stored(number)
            except _UNREADABLE:
                continue  # A disk that lost the last step leaves the one before.
        if numbers:
            raise InputError(f"no step in {self._path} can be read", "Start the job anew.")
        return None

    def read(self, number: int) -> Step:
        """Step `number`, whose checkpoint was kept; InputError where it cannot be read."""
        try:
            return self._stored(number)
        except _UNREADABLE as error:
            raise InputError(
                f"step {number} in {self._path} cannot be read", "Start the job anew."
            ) from error

    def numbers(self) -> list[int]:
        """Numbers of the steps whose state file stands, ascending."""
        if not self._path.is_dir():
            return []
        matches = (_ENTRY.fullmatch(entry.name) for entry in self._path.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def _stored(self, number: int) -> Step:
        entry = _Entry.model_validate_json(self._state_file(number).read_bytes())
        checkpoint = _read_checkpoint(self._checkpoint_file(number), entry.step)
        return Step(number, entry.state, checkpoint, entry.account)

    def _state_file(self, number: int) -> Path:
        return self._path / f"{number:04d}.json"

    def _checkpoint_file(self, number: int) -> Path:
        return self._path / f"{number:04d}.npz"


def _named(checkpoint: Checkpoint) -> Mapping[str, np.ndarray]:
    parts = {"w": checkpoint.weights, "m": checkpoint.first, "v": checkpoint.second}
    return {
        f"{kind}/{index}/{name}": value
        for kind, values in parts.items()
        for (name, index), value in values.items()
    }


def _read_checkpoint(path: Path, step: int) -> Checkpoint:
    parts: dict[str, dict[tuple[str, int], np.ndarray]] = {"w": {}, "m": {}, "v": {}}
    # Opened here, since numpy leaves a file that is no archive open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            kind, index, name = key.split("/", 2)
            parts[kind][name, int(index)] = arrays[key]
    return Checkpoint(parts["w"], parts["m"], parts["v"], step)
