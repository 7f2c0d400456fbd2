"""Examples that memory does not hold: read from a file, the same in every way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapt.errors import InputError
from adapt.training import rows
from adapt.training.data import Data, DataOptions, load_data
from adapt.training.rows import FileRows, Room, RowWriter, available_bytes, in_parts
from adapt.training.stored import open_stored, store

SHAPE, COUNT = (4, 5, 3), 300
RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.integers(0, 256, (COUNT, *SHAPE), np.uint8)
LABELS = np.arange(COUNT) % 3
OPTIONS = DataOptions(pixel_range=(-1, 1))


def arrays(folder: Path) -> str:
    np.savez(folder / "a.npz", x_train=INPUTS, y_train=LABELS, x_test=INPUTS[:9], y_test=LABELS[:9])
    return str(folder / "a.npz")


def compressed(folder: Path) -> str:
    floats = INPUTS.astype(np.float64) / 7
    np.savez_compressed(folder / "a.npz", x_train=floats, y_train=LABELS)
    return str(folder / "a.npz")


def images(folder: Path) -> str:
    for number in range(60):
        place = folder / "images" / f"class-{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(INPUTS[number]).save(place / f"{number:03}.png")
    return str(folder / "images")


def function(folder: Path) -> str:
    return "tests.training.test_rows:sets"


def sets() -> object:
    import tensorflow as tf

    both = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS))
    return both.take(200).batch(32), both.skip(200)


Source = Callable[[Path], str]


@pytest.mark.parametrize("source", [arrays, compressed, images, function])
@pytest.mark.parametrize("left", [0, 3_000])
def test_the_same_examples_from_memory_and_from_a_file(
    tmp_path: Path, source: Source, left: int
) -> None:
    name = source(tmp_path)
    held = load_data(name, SHAPE, 3, OPTIONS)
    filed = load_data(name, SHAPE, 3, OPTIONS, Room(tmp_path / "job" / "data", left))
    assert isinstance(filed.train.inputs, FileRows)
    assert isinstance(held.train.inputs, np.ndarray)
    assert filed.digest == held.digest
    index = np.array([3, 1, 7])
    for part in ("train", "holdout", "test"):
        one, other = getattr(held, part), getattr(filed, part)
        assert (one.labels == other.labels).all()
        assert other.inputs.shape == one.inputs.shape
        assert other.inputs.dtype == one.inputs.dtype
        np.testing.assert_array_equal(other.inputs[:], one.inputs)
        np.testing.assert_array_equal(other.inputs[1:4], one.inputs[1:4])
        np.testing.assert_array_equal(other.take(index[:2]).inputs[:], one.inputs[index[:2]])
        np.testing.assert_array_equal(other.evenly(5).inputs[:], one.evenly(5).inputs)
        np.testing.assert_array_equal(np.stack(list(other.inputs)), one.inputs)


def same(one: Data, other: Data) -> None:
    assert (one.classes, one.scale, one.offset, one.digest) == (
        other.classes, other.scale, other.offset, other.digest
    )  # fmt: skip
    for part in ("train", "holdout", "test"):
        a, b = getattr(one, part), getattr(other, part)
        np.testing.assert_array_equal(a.inputs[:], b.inputs[:])
        np.testing.assert_array_equal(a.labels, b.labels)


@pytest.mark.parametrize("left", [0, 1 << 30])
def test_what_is_stored_is_found_again(tmp_path: Path, left: int) -> None:
    folder = tmp_path / "data"
    data = load_data(images(tmp_path), SHAPE, 3, OPTIONS, Room(folder, left))
    store(data, folder)
    same(open_stored(folder), data)


def test_what_is_stored_and_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(InputError, match="cannot be read"):
        open_stored(folder)
    data = load_data(images(tmp_path), SHAPE, 3, OPTIONS, Room(folder, 0))
    store(data, folder)
    opened = open_stored(folder)
    os.truncate(folder / "train.rows", 100)
    with pytest.raises(InputError, match="has lost a part"):
        opened.train.inputs[:]
    (folder / "train.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        open_stored(folder)


def test_parts_cover_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_PART", 7 * INPUTS[0].nbytes)
    parts = list(in_parts(INPUTS))
    assert {len(part) for part in parts} == {7, COUNT % 7}
    np.testing.assert_array_equal(np.concatenate(parts), INPUTS)


def test_inputs_of_other_shapes_are_refused(tmp_path: Path) -> None:
    for left in (0, 1 << 20):
        writer = RowWriter("here", "a.rows", Room(tmp_path, left))
        writer.add(INPUTS[:3])
        with pytest.raises(ValueError, match="inputs are 4x5x3 and 5x3"):
            writer.add(INPUTS[0])


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LEAST_FREE", 1 << 60)
    with pytest.raises(InputError, match="does not fit on the disk") as caught:
        load_data(images(tmp_path), SHAPE, 3, OPTIONS, Room(tmp_path / "data", 0))
    assert "--output" in caught.value.todo


def test_memory_that_is_free_is_some() -> None:
    assert 1 << 20 < available_bytes() < 1 << 50


def test_a_large_array_that_is_cut_short(tmp_path: Path) -> None:
    path = Path(compressed(tmp_path))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        load_data(str(path), SHAPE, 3, OPTIONS, Room(tmp_path / "data", 0))
