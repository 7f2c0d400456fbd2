"""Examples from arrays: an .npz file, or a function of the user's that returns tf.data sets."""

from __future__ import annotations

import importlib
import math
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import numpy as np

from adapt.errors import AdaptError, InputError
from adapt.training.rows import Room, RowWriter, format_shape, refuse_too_large
from adapt.training.splits import Examples, Split

__all__ = ["call_function", "read_npz"]

_NPZ_KEYS: Final = ("x_train", "y_train", "x_test", "y_test")

# What numpy and zipfile raise for damaged archives; RuntimeError is for encrypted ones.
_UNREADABLE: Final = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)

# tf.data.INFINITE_CARDINALITY.
_ENDLESS: Final = -1

# Bytes of an array that are read at a time where it does not fit into memory.
_PART: Final = 64 << 20

# More classes than any classifier has: labels beyond are not class numbers.
_MAX_CLASSES: Final = 1 << 20


def read_npz(path: Path, room: Room | None = None) -> Examples:
    """x_train, y_train and, where there are, x_test, y_test of an .npz file; never unpickles.

    Inputs are put into `room`.
    """
    if not path.exists():
        raise InputError(f"no data at {path}", "Check the path given to --data.")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not an .npz file", "Write it with numpy.savez.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = sorted(arrays.files)
            size = sum(arrays.zip.getinfo(f"{n}.npy").file_size for n in names if n in _NPZ_KEYS)
            if room is not None and size > room.left:
                return _streamed(path, arrays.zip, names, room)
            refuse_too_large(str(path), size)
            found = {name: np.asarray(arrays[name]) for name in names if name in _NPZ_KEYS}
    except AdaptError:
        raise
    except (*_UNREADABLE, KeyError) as error:
        raise InputError(f"{path} cannot be read: {error}", "Write it with numpy.savez.") from error
    _check_names(path, names)
    train = _split(str(path), found["x_train"], found["y_train"])
    test = _split(str(path), found["x_test"], found["y_test"]) if "x_test" in found else None
    return Examples(train, test, _numbered_classes(train))


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not {"x_train", "y_train"} <= set(names) or ("x_test" in names) != ("y_test" in names):
        raise InputError(
            f"{path} holds {', '.join(names) or 'nothing'}",
            "It needs x_train and y_train, and x_test and y_test together or not at all.",
        )


def _streamed(path: Path, archive: zipfile.ZipFile, names: Sequence[str], room: Room) -> Examples:
    """What `read_npz` reads, with the inputs never all in memory."""
    _check_names(path, names)
    parts = ["train", "test"] if "x_test" in names else ["train"]
    splits = []
    for part in parts:
        with archive.open(f"y_{part}.npy") as file:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        writer = RowWriter(str(path), f"{part}.rows", room)
        with archive.open(f"x_{part}.npy") as file:
            for rows in _rows_of(file):
                writer.add(_stored(str(path), rows))
        splits.append(_labelled(str(path), writer, labels))
    train, *tests = splits
    return Examples(train, tests[0] if tests else None, _numbered_classes(train))


def _rows_of(file: IO[bytes]) -> Iterator[np.ndarray]:
    """The array that numpy.save wrote to `file`, a part of its rows at a time; at least one."""
    formats = {(1, 0): np.lib.format.read_array_header_1_0}
    read_header = formats.get(np.lib.format.read_magic(file), np.lib.format.read_array_header_2_0)
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject or is_fortran or not shape:
        raise ValueError("arrays this large must be numbers, in rows")
    each = math.prod(shape[1:]) * dtype.itemsize
    step = max(1, _PART // max(each, 1))
    yield np.empty((0, *shape[1:]), dtype)
    for first in range(0, shape[0], step):
        count = min(step, shape[0] - first)
        content = file.read(count * each)
        if len(content) != count * each:
            raise EOFError(f"it ends at row {first} of {shape[0]}")
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
    if file.read(1):  # The end is also where the archive's check sum is compared.
        raise ValueError("there is more than the header says")


def call_function(source: str, rank: int, room: Room | None = None) -> Examples:
    """What `module:function` returns: a tf.data set of (inputs, labels), or two: (train, test).

    `rank` is that of one input; a data set whose inputs have one more is batched. Modules are
    looked for in the working folder too. Inputs are put into `room`.
    """
    module, _, name = source.partition(":")
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))  # Not first, where it could hide Python's own modules.
    with _blamed_on(source, "importing it"):
        function: Callable[[], Any] | None = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise InputError(
            f"there is no function {name!r} in module {module!r}",
            "Name an importable module, and a function in it without arguments.",
        )
    with _blamed_on(source, "calling it"):
        returned = function()
    parts = returned if isinstance(returned, tuple) else (returned,)
    if len(parts) not in (1, 2):
        raise InputError(f"{source} returned {len(parts)} values", "Return (train, test).")
    train, *tests = (
        _collect(source, part, rank, RowWriter(source, f"{number}.rows", room))
        for number, part in enumerate(parts)
    )
    return Examples(train, tests[0] if tests else None, _numbered_classes(train))


@contextmanager
def _blamed_on(source: str, doing: str) -> Iterator[None]:
    """Turn any error of the user's code into one that says so."""
    try:
        yield
    except AdaptError:
        raise
    except Exception as error:  # It is not our code: it may raise anything.
        raise InputError(
            f"{source} cannot be used: {doing} raised {type(error).__name__}: {error}",
            "Try it in Python: it takes no arguments and returns tf.data sets (train, test).",
        ) from error


def _collect(source: str, dataset: Any, rank: int, writer: RowWriter) -> Split:
    """All examples of a tf.data set of (inputs, labels), batched or not."""
    labels: list[np.ndarray] = []
    if not hasattr(dataset, "as_numpy_iterator"):
        raise InputError(
            f"{source} returned {type(dataset).__name__}, not a tf.data set",
            "Return one tf.data set of (inputs, labels), or two: (train, test).",
        )
    with _blamed_on(source, "reading its data set of (inputs, labels)"):
        if int(dataset.cardinality()) == _ENDLESS:
            raise InputError(f"{source} never ends", "Return data sets without repeat().")
        for x, y in dataset.as_numpy_iterator():
            batched = np.ndim(x) == rank + 1
            writer.add(_stored(source, np.asarray(x) if batched else np.asarray(x)[None]))
            labels.append(np.asarray(y) if batched else np.asarray(y)[None])
        if not labels:
            raise InputError(f"{source} holds no examples", "Return data sets that are not empty.")
        return _labelled(source, writer, np.concatenate(labels))


def _split(source: str, inputs: np.ndarray, labels: np.ndarray) -> Split:
    """`inputs` and `labels` as they are stored; InputError where they are not examples."""
    if inputs.ndim == 0:
        _refuse_kind(source)
    writer = RowWriter(source, "", None)
    writer.add(_stored(source, inputs))
    return _labelled(source, writer, labels)


def _labelled(source: str, writer: RowWriter, labels: np.ndarray) -> Split:
    """What `writer` took, with `labels`; InputError where these are not."""
    if labels.ndim == 0 or not _is_real(labels):
        _refuse_kind(source)
    if len(labels) != writer.count:
        raise InputError(
            f"{source}: {writer.count} inputs but {len(labels)} labels", "Give one for each."
        )
    return Split(writer.rows(), _class_numbers(source, labels))


def _stored(source: str, inputs: np.ndarray) -> np.ndarray:
    """`inputs` as bytes or float32; InputError where they are neither, nor finite."""
    if not _is_real(inputs):
        _refuse_kind(source)
    if inputs.dtype == np.uint8:
        return inputs
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite, and is refused.
        stored = inputs.astype(np.float32)
    if not np.isfinite(stored).all():
        raise InputError(f"{source}: inputs hold NaN or infinite values", "Remove them.")
    return stored


def _refuse_kind(source: str) -> NoReturn:
    raise InputError(f"{source}: inputs and labels must be numbers", "Store numeric arrays.")


def _is_real(values: np.ndarray) -> bool:
    return np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)


def _class_numbers(source: str, labels: np.ndarray) -> np.ndarray:
    """`labels` [N], [N, 1] or one-hot [N, classes] as int32 [N]."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    if labels.shape not in ((len(labels),), (len(labels), 1)):
        raise InputError(
            f"{source}: each label is {format_shape(labels.shape[1:])}",
            "Labels are class numbers [N] or one-hot [N, classes].",
        )
    # Of NaN, no comparison holds.
    numbers = labels.reshape(len(labels))
    if not ((numbers >= 0) & (numbers < _MAX_CLASSES) & (numbers % 1 == 0)).all():
        raise InputError(
            f"{source}: labels are not class numbers, but from {numbers.min()} to {numbers.max()}",
            "Number the classes from 0.",
        )
    return numbers.astype(np.int32)


def _numbered_classes(train: Split) -> tuple[str, ...]:
    """Class names: numbers up to the highest label, or one name where no two labels differ."""
    if len(np.unique(train.labels)) < 2:
        return ("0",)
    return tuple(str(number) for number in range(int(train.labels.max()) + 1))
