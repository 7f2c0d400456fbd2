"""A data set as files that other processes open: what a job read once, no worker reads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from adapt.errors import InputError
from adapt.training.data import Data
from adapt.training.rows import FileRows, in_parts
from adapt.training.splits import Split

__all__ = ["open_stored", "store"]

_SPLITS = ("train", "holdout", "test")


class _Inputs(BaseModel):
    """Where the inputs of a split are: rows of `file`, each of shape `row`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    dtype: str
    row: tuple[int, ...]


class _Description(BaseModel):
    """What stands in data.json; rows and labels are in the splits' .npz files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, _Inputs]
    classes: tuple[str, ...]
    scale: float
    offset: float
    digest: str


def store(data: Data, folder: Path) -> None:
    """Write `data` to `folder`, but for inputs that are in files already.

    Workers may have another working directory: the paths are absolute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {}
    for name in _SPLITS:
        split: Split = getattr(data, name)
        rows = split.inputs
        if isinstance(rows, FileRows):
            path, index = rows.path, rows.index
        else:
            path, index = folder / f"{name}.inputs", np.arange(len(rows))
            with path.open("wb") as file:
                for part in in_parts(rows):
                    file.write(np.ascontiguousarray(part).data)
        np.savez(folder / f"{name}.npz", index=index, labels=split.labels)
        inputs[name] = _Inputs(file=str(path.absolute()), dtype=str(rows.dtype), row=rows.shape[1:])
    described = _Description(
        inputs=inputs,
        classes=data.classes,
        scale=data.scale,
        offset=data.offset,
        digest=data.digest,
    )
    (folder / "data.json").write_text(described.model_dump_json())


def open_stored(folder: Path) -> Data:
    """What `store` wrote to `folder`; InputError where it is not there any more."""
    try:
        described = _Description.model_validate_json((folder / "data.json").read_bytes())
        splits = {name: _opened(folder, name, described.inputs[name]) for name in _SPLITS}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"the examples in {folder} cannot be read: {error}",
            "Workers need the job's folder at the same place as the job itself.",
        ) from error
    return Data(
        **splits,
        classes=described.classes,
        scale=described.scale,
        offset=described.offset,
        digest=described.digest,
    )


def _opened(folder: Path, name: str, inputs: _Inputs) -> Split:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        index, labels = arrays["index"], arrays["labels"]
    return Split(FileRows(Path(inputs.file), np.dtype(inputs.dtype), inputs.row, index), labels)
