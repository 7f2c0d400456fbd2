"""The user's examples: images or arrays in, three splits out.

The hold-out split is taken from the training examples and decides between proposals; the test
split is looked at once, when everything is decided.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from adapt.errors import InputError
from adapt.training.arrays import call_function, read_npz
from adapt.training.images import read_folder
from adapt.training.rows import Room, format_shape, in_parts
from adapt.training.splits import Split

__all__ = ["Data", "DataOptions", "Split", "load_data"]

# The paper holds 10,000 images out; more than that costs time and decides nothing better.
MAX_HOLDOUT: Final = 10_000


@dataclass(frozen=True)
class DataOptions:
    """How to read a data set.

    `holdout` and `test` are shares of the training examples, the latter only where the data set
    brings no test examples; `pixel_range` is what 0..255 is mapped to, for images; `resize` allows
    images of another size than the network's input.
    """

    holdout: float = 0.1
    test: float = 0.1
    pixel_range: tuple[float, float] = (0.0, 255.0)
    resize: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """The three splits; `scale` and `offset` turn stored inputs into what the network takes."""

    train: Split
    holdout: Split
    test: Split
    classes: tuple[str, ...]
    scale: float
    offset: float
    digest: str

    def prepared(self, inputs: np.ndarray) -> np.ndarray:
        """Stored inputs as the float32 that the network takes."""
        if self.scale == 1.0 and self.offset == 0.0:
            return inputs.astype(np.float32)
        return inputs.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)


def load_data(
    source: str,
    input_shape: tuple[int, ...],
    outputs: int,
    options: DataOptions,
    room: Room | None = None,
) -> Data:
    """Read `source`: an image folder, an .npz file, or `module:function`.

    `input_shape` is that of the network without the batch, `outputs` its number of classes. What
    does not fit into `room` stays in a file. Raises InputError where the data cannot be read, does
    not fit the network or, without a room, into memory.
    """
    path = Path(source)
    images = path.is_dir()
    if images:
        train, test, classes = read_folder(path, input_shape, resize=options.resize, room=room)
    elif path.suffix.lower() == ".npz":
        train, test, classes = read_npz(path, room)
    elif ":" in source and not path.exists():
        train, test, classes = call_function(source, len(input_shape), room)
    else:
        raise InputError(
            f"no data at {source}" if not path.exists() else f"{source} is not a data set",
            "Give a folder with one sub-folder per class, an .npz file with x_train, y_train,"
            " x_test, y_test, or module:function that returns tf.data sets (train, test).",
        )
    _check(source, train, input_shape, outputs, len(classes))
    if test is None:
        test, train = _split(train, options.test, options.seed, stream=1)
    else:
        _check(source, test, input_shape, outputs, len(classes))
    holdout, train = _split(train, options.holdout, options.seed, stream=2)
    low, high = options.pixel_range if images else (0.0, 255.0)
    digest = _digest(train, holdout, test)
    return Data(train, holdout, test, classes, (high - low) / 255.0, low, digest)


def _split(split: Split, share: float, seed: int, stream: int) -> tuple[Split, Split]:
    """A random part of `share` of the examples, and the rest."""
    count = min(max(1, round(len(split) * share)), MAX_HOLDOUT)
    if count >= len(split):
        raise InputError(f"{len(split)} examples are too few to hold {count} out", "Add examples.")
    order = np.random.default_rng([seed, stream]).permutation(len(split))
    return split.take(np.sort(order[:count])), split.take(np.sort(order[count:]))


def _check(
    source: str, split: Split, input_shape: tuple[int, ...], outputs: int, classes: int
) -> None:
    """Raise InputError unless a network of `input_shape` and `outputs` can learn `split`."""
    if outputs < 2:
        raise InputError(
            "the network has a single output; it cannot tell classes apart by the highest one",
            "Give it one output per class: a binary network ends in Dense(2, 'softmax').",
        )
    if len(split) == 0:
        raise InputError(f"{source} holds no examples", "Check the path given to --data.")
    if classes < 2:
        raise InputError(
            f"{source} holds a single class", "Accuracy needs two classes or more to tell apart."
        )
    if split.inputs.shape[1:] != input_shape:
        raise InputError(
            f"the inputs of {source} are {format_shape(split.inputs.shape[1:])}, the network takes"
            f" {format_shape(input_shape)}",
            "Use the data that the network was trained on; images can be resized with --resize.",
        )
    needed = max(classes, int(split.labels.max()) + 1)
    if needed > outputs:
        raise InputError(
            f"{source} has {needed} classes, the network has {outputs} outputs",
            "Use the data that the network was trained on.",
        )


def _digest(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.inputs.shape, str(split.inputs.dtype))).encode())
        for part in in_parts(split.inputs):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
