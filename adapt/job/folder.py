"""A job's folder: job.json, the journal, the family and the results.

    job.json             the request and, at the end, the result
    journal/0003.json    the state after step 3; it exists only when step 3 is complete
    journal/0003.npz     the weights and moments that belong to it (the last two steps')
    family/              the best network of each iteration
    adapted.keras, adapted.tflite, original.tflite, report.html

Every file is written beside its place, flushed to disk and renamed, so that a job killed at any
moment finds the last complete step.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from adapt.errors import Busy, InputError
from adapt.job.request import JobRequest
from adapt.job.result import JobResult
from adapt.methods.base import State
from adapt.training.finetune import Checkpoint

__all__ = ["JobFolder", "Journal", "locked", "write_file"]

_ENTRY = re.compile(r"(\d{4,})\.json")

# The last checkpoint and the one before it, in case the disk loses the last.
_CHECKPOINTS_KEPT = 2


def write_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`: all of it or nothing, whatever happens; the folder must exist."""
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; Busy where another process holds it. Free again after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(32).strip()
            raise Busy(
                f"{what} is in use by process {holder or 'unknown'}",
                "Wait for it to end, or stop it.",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class _JobFile(BaseModel):
    request: JobRequest
    result: JobResult | None = None


class JobFolder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, request: JobRequest) -> JobFolder:
        """A new job at `path`, which must not hold anything; InputError where it does."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"{path} exists and is not empty",
                f"Name another folder with --output, or go on with: adapt resume {path}",
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder._write(_JobFile(request=request))
        except OSError as error:
            raise InputError(
                f"no job folder can be made at {path}: {error.strerror}", "Name another folder."
            ) from error
        return folder

    @classmethod
    def open(cls, path: Path) -> JobFolder:
        """The job at `path`; InputError where there is none."""
        folder = cls(path)
        folder._read()
        return folder

    @property
    def request(self) -> JobRequest:
        """What was asked for."""
        return self._read().request

    @property
    def result(self) -> JobResult | None:
        """What came of it; None until the job is done."""
        return self._read().result

    def finish(self, result: JobResult) -> None:
        """Write the result down."""
        self._write(_JobFile(request=self.request, result=result))

    def journal(self, track: str = "") -> Journal:
        """The journal of the job, or of the baseline called `track`."""
        return Journal(self.path / "journal" / track if track else self.path / "journal")

    def _write(self, content: _JobFile) -> None:
        write_file(self.path / "job.json", content.model_dump_json(indent=1).encode())

    def _read(self) -> _JobFile:
        file = self.path / "job.json"
        try:
            return _JobFile.model_validate_json(file.read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                f"there is no job in {self.path}", "Give the folder that `adapt run` named."
            ) from error
        except (OSError, ValidationError, ValueError) as error:
            raise InputError(f"{file} is not a job file: {error}", "Start the job anew.") from error


class Journal:
    """The steps of one method, each a state and a checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, number: int, state: State, checkpoint: Checkpoint) -> None:
        """Write step `number` down; it counts once its state file stands."""
        self._path.mkdir(parents=True, exist_ok=True)
        beside = self._path / f"{number:04d}.npz.part"
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **_named(checkpoint))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path / f"{number:04d}.npz")
        entry = {"step": checkpoint.step, "state": state.model_dump(mode="json")}
        write_file(self._path / f"{number:04d}.json", json.dumps(entry).encode())
        (self._path / f"{number - _CHECKPOINTS_KEPT:04d}.npz").unlink(missing_ok=True)

    def last(self) -> tuple[int, State, Checkpoint] | None:
        """The last complete step: its number, state and checkpoint; None before the first."""
        for number in sorted(self._numbers(), reverse=True):
            try:
                entry = json.loads((self._path / f"{number:04d}.json").read_bytes())
                state = State.model_validate(entry["state"])
                return number, state, _read_checkpoint(self._path / f"{number:04d}.npz", entry)
            except (OSError, ValueError, KeyError, zipfile.BadZipFile):
                continue  # A disk that lost the last step leaves the one before.
        if self._numbers():
            raise InputError(f"no step in {self._path} can be read", "Start the job anew.")
        return None

    def _numbers(self) -> list[int]:
        if not self._path.is_dir():
            return []
        matches = (_ENTRY.fullmatch(entry.name) for entry in self._path.iterdir())
        return [int(match[1]) for match in matches if match]


def _named(checkpoint: Checkpoint) -> Mapping[str, np.ndarray]:
    parts = {"w": checkpoint.weights, "m": checkpoint.first, "v": checkpoint.second}
    return {
        f"{kind}/{index}/{name}": value
        for kind, values in parts.items()
        for (name, index), value in values.items()
    }


def _read_checkpoint(path: Path, entry: Mapping[str, int]) -> Checkpoint:
    parts: dict[str, dict[tuple[str, int], np.ndarray]] = {"w": {}, "m": {}, "v": {}}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            kind, index, name = key.split("/", 2)
            parts[kind][name, int(index)] = arrays[key]
    return Checkpoint(parts["w"], parts["m"], parts["v"], int(entry["step"]))
