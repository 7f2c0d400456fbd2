"""Examples from a folder of images with one sub-folder per class."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from adapt.errors import InputError
from adapt.training.rows import Room, RowWriter, format_shape
from adapt.training.splits import Examples, Split

__all__ = ["read_folder"]

_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
_TRAIN_FOLDERS: Final = ("train", "training")
_TEST_FOLDERS: Final = ("test", "testing", "val", "validation")

# Pixels of 16 or 32 bits: Pillow cuts them off at 255 where it should scale them.
_DEEP_MODES: Final = ("I", "F")

# What Pillow raises for a damaged file, besides its own kinds, which derive from OSError.
_UNREADABLE: Final = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


# Images that are decoded before any of them is put away.
_AT_ONCE: Final = 256


def read_folder(
    root: Path, input_shape: tuple[int, ...], *, resize: bool, room: Room | None = None
) -> Examples:
    """The images under `root`, uint8 of `input_shape` (height, width, 1 or 3), put into `room`.

    Class folders stand in `root` itself or in train and test folders in it. Raises InputError for
    images that cannot be read or, unless `resize`, are of another size.
    """
    train_root = next((root / n for n in _TRAIN_FOLDERS if _class_folders(root / n)), root)
    tests = (root / name for name in _TEST_FOLDERS if train_root != root)
    test_root = next((folder for folder in tests if folder.is_dir()), None)
    classes = _class_folders(train_root)
    if not classes:
        raise InputError(
            f"{train_root} has no class folders with images",
            "Put the images of each class into a sub-folder of its own.",
        )
    writer = RowWriter(str(train_root), "train.rows", room)
    train = _read_images(train_root, classes, input_shape, resize, writer)
    if test_root is None:
        return Examples(train, None, classes)
    unknown = set(_class_folders(test_root)) - set(classes)
    if unknown:
        raise InputError(
            f"{test_root} has classes that {train_root} has not: {', '.join(sorted(unknown))}",
            "Use the same class folders in both.",
        )
    writer = RowWriter(str(test_root), "test.rows", room)
    test = _read_images(test_root, classes, input_shape, resize, writer)
    return Examples(train, test, classes)


def _visible(folder: Path) -> list[Path]:
    """What `folder` holds, sorted; hidden files are the file manager's, not the user's."""
    if not folder.is_dir():
        return []
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read: {error.strerror}", "Check its permissions."
        ) from error


def _images_of(folder: Path) -> list[Path]:
    return [p for p in _visible(folder) if p.suffix.lower() in _SUFFIXES and p.is_file()]


def _class_folders(root: Path) -> tuple[str, ...]:
    return tuple(path.name for path in _visible(root) if _images_of(path))


def _read_images(
    root: Path,
    classes: Iterable[str],
    input_shape: tuple[int, ...],
    resize: bool,
    writer: RowWriter,
) -> Split:
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        raise InputError(
            f"the network takes {format_shape(input_shape)}, which is not an image",
            "Give its data as an .npz file or as module:function.",
        )
    paths = [
        (path, label) for label, name in enumerate(classes) for path in _images_of(root / name)
    ]
    writer.expect(len(paths) * int(np.prod(input_shape)))

    def read(entry: tuple[Path, int]) -> np.ndarray:
        return _read_image(entry[0], input_shape, resize)

    writer.add(np.empty((0, *input_shape), np.uint8))  # A test folder may be empty.
    with ThreadPoolExecutor() as pool:  # Decoding releases the interpreter lock.
        for first in range(0, len(paths), _AT_ONCE):
            writer.add(np.stack(list(pool.map(read, paths[first : first + _AT_ONCE]))))
    return Split(writer.rows(), np.array([label for _, label in paths], np.int32))


def _read_image(path: Path, input_shape: tuple[int, ...], resize: bool) -> np.ndarray:
    height, width, channels = input_shape
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, image.convert("RGB" if channels == 3 else "L")
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a readable image: {error}", "Remove or mend it."
        ) from error
    if mode.startswith(_DEEP_MODES):
        raise InputError(
            f"{path} has more than 8 bits per pixel",
            "Convert the images to 8 bits, or give the data as an .npz file.",
        )
    if pixels.size != (width, height):
        if not resize:
            raise InputError(
                f"{path} is {pixels.size[0]}x{pixels.size[1]} pixels, the network takes"
                f" {width}x{height}",
                "Give images of that size, or --resize to have them scaled.",
            )
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.uint8).reshape(input_shape)
