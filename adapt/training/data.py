"""The user's examples: images or arrays in, three splits out.

The hold-out split is taken from the training examples and decides between proposals; the test
split is looked at once, when everything is decided.
"""

from __future__ import annotations

import hashlib
import importlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from adapt.errors import InputError

__all__ = ["Data", "DataOptions", "Split", "load_data"]

_IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_TRAIN_FOLDERS: Final = ("train", "training")
_TEST_FOLDERS: Final = ("test", "testing", "val", "validation")

# Examples are kept in memory, as bytes where they came as bytes. Beyond this a machine of ordinary
# size would start to swap.
MAX_BYTES: Final = 8 << 30

# The paper holds 10,000 images out; more than that costs time and decides nothing better.
MAX_HOLDOUT: Final = 10_000


@dataclass(frozen=True)
class Split:
    """Examples: `inputs` [N, ...] as stored (bytes or float32), `labels` int32 [N]."""

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """The examples at `index`."""
        return Split(self.inputs[index], self.labels[index])


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
    source: str, input_shape: tuple[int, ...], outputs: int, options: DataOptions
) -> Data:
    """Read `source`: an image folder, an .npz file, or `module:function`.

    `input_shape` is that of the network without the batch, `outputs` its number of classes. Raises
    InputError where the data cannot be read or does not fit the network.
    """
    path = Path(source)
    images = False
    if path.is_dir():
        train, test, classes = _read_folder(path, input_shape, options)
        images = True
    elif path.suffix == ".npz":
        train, test, classes = _read_npz(path)
    elif ":" in source and not path.exists():
        train, test, classes = _call_function(source)
    else:
        raise InputError(
            f"no data at {source}" if not path.exists() else f"{source} is not a data set",
            "Give a folder with one sub-folder per class, an .npz file with x_train, y_train,"
            " x_test, y_test, or module:function that returns tf.data sets (train, test).",
        )
    _check(source, train, input_shape, outputs, len(classes))
    if test is None:
        test, train = _split(train, options.test, options.seed, stream=1)
    _check(source, test, input_shape, outputs, len(classes))
    holdout, train = _split(train, options.holdout, options.seed, stream=2)
    low, high = options.pixel_range if images else (0.0, 255.0)
    return Data(
        train, holdout, test, classes, (high - low) / 255.0, low, _digest(train, holdout, test)
    )


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
    if len(split) == 0:
        raise InputError(f"{source} holds no examples", "Check the path given to --data.")
    if classes < 2:
        raise InputError(
            f"{source} holds a single class", "Accuracy needs two classes or more to tell apart."
        )
    if split.inputs.shape[1:] != input_shape:
        raise InputError(
            f"the inputs of {source} are {_shape(split.inputs.shape[1:])}, the network takes"
            f" {_shape(input_shape)}",
            "Use the data that the network was trained on; images can be resized with --resize.",
        )
    top = int(split.labels.max())
    if int(split.labels.min()) < 0 or top >= outputs or classes > outputs:
        raise InputError(
            f"{source} has {max(classes, top + 1)} classes, the network has {outputs} outputs",
            "Use the data that the network was trained on.",
        )


def _shape(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _digest(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.inputs.shape, str(split.inputs.dtype))).encode())
        digest.update(np.ascontiguousarray(split.inputs).data)
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


# --- image folders ---------------------------------------------------------------------------


def _read_folder(
    root: Path, input_shape: tuple[int, ...], options: DataOptions
) -> tuple[Split, Split | None, tuple[str, ...]]:
    train_root = _first_folder(root, _TRAIN_FOLDERS)
    test_root = _first_folder(root, _TEST_FOLDERS)
    if train_root is None:
        train_root, test_root = root, None
    classes = _class_folders(train_root)
    if not classes:
        raise InputError(
            f"{train_root} has no class folders with images",
            "Put the images of each class into a sub-folder of its own.",
        )
    train = _read_images(train_root, classes, input_shape, options)
    if test_root is None:
        return train, None, classes
    unknown = set(_class_folders(test_root)) - set(classes)
    if unknown:
        raise InputError(
            f"{test_root} has classes that {train_root} has not: {', '.join(sorted(unknown))}",
            "Use the same class folders in both.",
        )
    return train, _read_images(test_root, classes, input_shape, options), classes


def _first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _images_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES)


def _class_folders(root: Path) -> tuple[str, ...]:
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return tuple(folder.name for folder in folders if _images_of(folder))


def _read_images(
    root: Path, classes: tuple[str, ...], input_shape: tuple[int, ...], options: DataOptions
) -> Split:
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise InputError(
            f"the network takes {_shape(input_shape)}, which is not an image",
            "Give its data as an .npz file or as module:function.",
        )
    paths = [(path, label) for label, name in enumerate(classes) if (root / name).is_dir()
             for path in _images_of(root / name)]  # fmt: skip
    _refuse_too_large(str(root), len(paths) * int(np.prod(input_shape)))
    inputs = np.empty((len(paths), *input_shape), np.uint8)

    def read(number: int) -> None:
        inputs[number] = _read_image(paths[number][0], input_shape, options.resize)

    with ThreadPoolExecutor() as pool:  # Decoding releases the interpreter lock.
        for _ in pool.map(read, range(len(paths)), chunksize=64):
            pass
    return Split(inputs, np.array([label for _, label in paths], np.int32))


def _read_image(path: Path, input_shape: tuple[int, ...], resize: bool) -> np.ndarray:
    height, width, channels = input_shape
    try:
        with Image.open(path) as image:
            pixels = image.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path} is not a readable image: {error}", "Remove or mend it."
        ) from error
    if pixels.size != (width, height):
        if not resize:
            raise InputError(
                f"{path} is {pixels.size[0]}x{pixels.size[1]} pixels, the network takes"
                f" {width}x{height}",
                "Give images of that size, or --resize to have them scaled.",
            )
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.uint8).reshape(input_shape)


def _refuse_too_large(source: str, size: int) -> None:
    if size > MAX_BYTES:
        raise InputError(
            f"{source} takes {size / 2**30:.1f} GiB in memory, more than {MAX_BYTES >> 30} GiB",
            "Give a part of it: some ten thousand examples are enough for fine-tuning.",
        )


# --- arrays ----------------------------------------------------------------------------------


def _read_npz(path: Path) -> tuple[Split, Split | None, tuple[str, ...]]:
    if not path.exists():
        raise InputError(f"no data at {path}", "Check the path given to --data.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found: Mapping[str, np.ndarray] = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}", "Write it with numpy.savez.") from error
    lacking = [name for name in ("x_train", "y_train") if name not in found]
    if lacking or ("x_test" in found) != ("y_test" in found):
        raise InputError(
            f"{path} holds {', '.join(sorted(found)) or 'nothing'}",
            "It needs x_train and y_train, and x_test and y_test together or not at all.",
        )
    train = _arrays(str(path), found["x_train"], found["y_train"])
    test = _arrays(str(path), found["x_test"], found["y_test"]) if "x_test" in found else None
    return train, test, _numbered_classes(train)


def _arrays(source: str, inputs: np.ndarray, labels: np.ndarray) -> Split:
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)  # One-hot.
    labels = labels.reshape(len(labels)) if labels.size == len(labels) else labels
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise InputError(
            f"{source}: {len(inputs)} inputs but labels of shape {labels.shape}",
            "Labels are class numbers [N] or one-hot [N, classes].",
        )
    if not np.issubdtype(inputs.dtype, np.number) or not np.issubdtype(labels.dtype, np.number):
        raise InputError(f"{source}: inputs and labels must be numbers", "Store numeric arrays.")
    stored = inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)
    if stored.dtype != np.uint8 and not np.isfinite(stored).all():
        raise InputError(f"{source}: inputs hold NaN or infinite values", "Remove them.")
    return Split(stored, labels.astype(np.int32))


def _numbered_classes(train: Split) -> tuple[str, ...]:
    if len(train) == 0 or len(np.unique(train.labels)) < 2:
        return ("0",)
    return tuple(str(number) for number in range(int(train.labels.max()) + 1))


def _call_function(source: str) -> tuple[Split, Split | None, tuple[str, ...]]:
    module, _, name = source.partition(":")
    try:
        function: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"no function {name!r} in module {module!r}: {error}",
            "Name an importable module, and a function in it without arguments.",
        ) from error
    returned = function()
    parts = returned if isinstance(returned, tuple) else (returned,)
    if len(parts) not in (1, 2):
        raise InputError(f"{source} returned {len(parts)} values", "Return (train, test).")
    train, test = (
        _collect(source, parts[0]),
        _collect(source, parts[1]) if len(parts) == 2 else None,
    )
    return train, test, _numbered_classes(train)


def _collect(source: str, dataset: Any) -> Split:
    """All examples of a tf.data set of (inputs, labels), batched or not."""
    inputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    size = 0
    try:
        for x, y in dataset.as_numpy_iterator():
            y = np.asarray(y)
            batched = y.ndim > 0 and len(y) == len(np.asarray(x)) and np.asarray(x).ndim > 1
            inputs.append(np.asarray(x) if batched else np.asarray(x)[None])
            labels.append(y if batched else y[None])
            size += inputs[-1].nbytes
            _refuse_too_large(source, size)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} does not yield (inputs, labels): {error}",
            "Return tf.data sets of (inputs, labels), finite, with class numbers as labels.",
        ) from error
    if not inputs:
        raise InputError(f"{source} holds no examples", "Return data sets that are not empty.")
    return _arrays(source, np.concatenate(inputs), np.concatenate(labels))
