"""A job's folder: job.json, the journal, the family and the results.

    job.json             the request, what the first sitting found and, at the end, the result
    journal/0003.json    the state after step 3; it exists only when step 3 is complete
    journal/0003.npz     the weights and moments that belong to it (the last two steps')
    journal/points/      with --target-accuracy, each network of the family and its weights
    journal/trial-03/    the long fine-tune of that of iteration 3
    prices.jsonl         interpolated times that choices rest on; prices-2.jsonl of a second device
    data/                examples of a running job, where memory does not hold them
    family/              the best network of each iteration
    adapted.keras, adapted.tflite, original.tflite, report.html

Every file is written beside its place, flushed to disk and renamed, so that a job killed at any
moment finds the last complete step.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from adapt.errors import InputError
from adapt.job.files import to_json, write_file
from adapt.job.journal import Journal
from adapt.job.prices import PriceFile
from adapt.job.request import JobRequest
from adapt.job.result import JobResult

__all__ = ["Conditions", "JobFolder", "write_file"]

# Raised with every change that an older program could not read.
_FORMAT = 4

# More jobs of one network than anybody keeps in one folder.
_MAX_NUMBER = 100_000


class Conditions(BaseModel):
    """What the first sitting found, and every other must find again for the result to be the same.

    `data_sha256` is the digest of all examples, `platforms` what each device says it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: str
    platforms: dict[str, str]


class _JobFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = _FORMAT
    request: JobRequest
    conditions: Conditions | None = None
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
    def create_numbered(cls, jobs: Path, stem: str, request: JobRequest) -> JobFolder:
        """A new job at the first `jobs`/<stem>-<number> that is free."""
        for number in range(1, _MAX_NUMBER):
            path = jobs / f"{stem}-{number}"
            try:
                path.mkdir(parents=True)  # Claims the name: two runs may start at once.
            except FileExistsError:
                continue
            except OSError as error:
                raise InputError(
                    f"no job folder can be made at {path}: {error.strerror}",
                    "Name another folder with --output.",
                ) from error
            return cls.create(path, request)
        raise InputError(f"{jobs} is full of jobs", "Name another folder with --output.")

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

    @property
    def exists(self) -> bool:
        """Whether there is a job to go on with."""
        return (self.path / "job.json").exists()

    @property
    def prepared(self) -> bool:
        """Whether a sitting has read the network and the data, and met the device."""
        return self._read().conditions is not None

    @property
    def begun(self) -> bool:
        """Whether a step was completed, so that resuming saves work."""
        return bool(self.journal().numbers())

    def check(self, conditions: Conditions) -> None:
        """Write `conditions` down in the first sitting; InputError where a later one differs."""
        content = self._read()
        if content.conditions is None:
            self._write(content.model_copy(update={"conditions": conditions}))
            return
        changed = "has changed since the job began"
        if content.conditions.data_sha256 != conditions.data_sha256:
            raise InputError(
                f"the data {content.request.data} {changed}",
                "Put it back as it was, or start a new job with `adapt run`.",
            )
        for label, before in content.conditions.platforms.items():
            now = conditions.platforms.get(label, "gone")
            if now != before:
                raise InputError(
                    f"the device {label} {changed}: it was {before}, it is {now}",
                    "Times of two platforms do not compare: start a new job with `adapt run`.",
                )

    def finish(self, result: JobResult) -> None:
        """Write the result down."""
        self._write(self._read().model_copy(update={"result": result}))

    def discard(self) -> None:
        """Remove a job that has not begun, and its folder where nothing else is in it."""
        for file in (*self.path.glob("prices*.jsonl"), self.path / "job.json", self.path / "lock"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def drop_data(self) -> None:
        """Remove what another sitting would read anew."""
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def data(self) -> Path:
        """Where examples are that do not fit into memory, or that workers read."""
        return self.path / "data"

    def prices(self, number: int = 1) -> PriceFile:
        """The interpolated times that networks were priced with, on device `number`, from 1."""
        return PriceFile(self.path / (f"prices-{number}.jsonl" if number > 1 else "prices.jsonl"))

    def journal(self, track: str = "", *, complete: bool = False) -> Journal:
        """The journal of the job, or of that part of it which is called `track`."""
        path = self.path / "journal"
        return Journal(path / track if track else path, complete=complete)

    def _write(self, content: _JobFile) -> None:
        write_file(self.path / "job.json", to_json(content))

    def _read(self) -> _JobFile:
        file = self.path / "job.json"
        try:
            values = json.loads(file.read_bytes())
            if isinstance(values, dict) and values.get("format", _FORMAT) != _FORMAT:
                raise InputError(
                    f"{file} was written by another version of adapt (format {values['format']})",
                    "Go on with that version, or start the job anew.",
                )
            return _JobFile.model_validate(values)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"there is no job in {self.path}", "Give the folder that `adapt run` named."
            ) from error
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} is not a job file: {_explained(error)}", "Start the job anew."
            ) from error


def _explained(error: Exception) -> str:
    """What is wrong with a job file, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'its content'}: {fault['msg'].lower()}"
