"""Image folders as data sets."""

from __future__ import annotations

import io
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapt.errors import InputError
from adapt.training import rows
from adapt.training.data import Data, DataOptions, load_data

GREY, RGB = (8, 8, 1), (8, 8, 3)
NO_TEST = DataOptions(holdout=0.25, test=0.25)


def picture(path: Path, value: int = 0, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    """An image of one colour at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (value, 255 - value, 7) if mode == "RGB" else value
    Image.new(mode, size, colour).save(path)
    return path


def flat(root: Path, count: int = 10, mode: str = "L") -> Path:
    """Two classes: "dark" of values 0, 1, ... and "light" of 100, 101, ..."""
    for first, name in ((0, "dark"), (100, "light")):
        for number in range(count):
            picture(root / name / f"{number:02d}.png", first + number, mode=mode)
    return root


def values(data: Data) -> dict[str, list[int]]:
    """The first pixel of every example, by split."""
    return {
        name: [int(x.flat[0]) for x in getattr(data, name).inputs]
        for name in ("train", "holdout", "test")
    }


def test_a_flat_folder(tmp_path: Path) -> None:
    data = load_data(str(flat(tmp_path)), GREY, 2, NO_TEST)
    assert data.classes == ("dark", "light")
    assert {name: len(v) for name, v in values(data).items()} == {
        "train": 11,
        "holdout": 4,
        "test": 5,
    }
    everything = sorted(itertools.chain(*values(data).values()))
    assert everything == [*range(10), *range(100, 110)]
    for split in (data.train, data.holdout, data.test):
        assert split.inputs.dtype == np.uint8
        assert split.labels.dtype == np.int32
        assert [int(x.flat[0] >= 100) for x in split.inputs] == split.labels.tolist()


def test_train_and_test_folders(tmp_path: Path) -> None:
    flat(tmp_path / "train")
    for number in range(3):
        picture(tmp_path / "test" / "light" / f"{number}.png", 200 + number)
    data = load_data(str(tmp_path), GREY, 2, DataOptions())
    assert values(data)["test"] == [200, 201, 202]
    assert data.test.labels.tolist() == [1, 1, 1]
    assert len(data.train) == 18
    assert len(data.holdout) == 2


def test_train_can_be_the_name_of_a_class(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / "train" / f"{number}.png", number)
        picture(tmp_path / "tram" / f"{number}.png", number)
    assert load_data(str(tmp_path), GREY, 2, NO_TEST).classes == ("train", "tram")


def test_colour_and_grey_are_converted_to_what_the_network_takes(tmp_path: Path) -> None:
    colour = load_data(str(flat(tmp_path / "rgb", mode="RGB")), RGB, 2, NO_TEST)
    assert {tuple(x[0, 0]) for x in colour.train.inputs} <= {
        (v, 255 - v, 7) for v in (*range(10), *range(100, 110))
    }
    grey = load_data(str(flat(tmp_path / "grey")), RGB, 2, NO_TEST)
    assert (grey.train.inputs[..., 0] == grey.train.inputs[..., 2]).all()
    assert load_data(str(tmp_path / "rgb"), GREY, 2, NO_TEST).train.inputs.shape == (11, *GREY)


@pytest.mark.parametrize(
    ("pixel_range", "expected"), [((0, 255), 100), ((0, 1), 100 / 255), ((-1, 1), 200 / 255 - 1)]
)
def test_pixel_range(tmp_path: Path, pixel_range: tuple[float, float], expected: float) -> None:
    for name in "ab":
        for number in range(4):
            picture(tmp_path / name / f"{number}.png", 100)
    data = load_data(str(tmp_path), GREY, 2, DataOptions(pixel_range=pixel_range))
    prepared = data.prepared(data.train.inputs)
    assert prepared.dtype == np.float32
    assert prepared == pytest.approx(np.full(prepared.shape, expected), abs=1e-6)


def test_hidden_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    flat(tmp_path)
    before = load_data(str(tmp_path), GREY, 2, NO_TEST)
    picture(tmp_path / "dark" / "._00.png").write_bytes(b"left by a file manager")
    (tmp_path / "light" / "notes.txt").write_text("not an image")
    (tmp_path / "light" / "folder.png").mkdir()
    picture(tmp_path / ".thumbnails" / "0.png")
    (tmp_path / "empty").mkdir()
    after = load_data(str(tmp_path), GREY, 2, NO_TEST)
    assert after.classes == before.classes
    assert after.digest == before.digest


def test_images_of_another_size(tmp_path: Path) -> None:
    flat(tmp_path)
    odd = picture(tmp_path / "dark" / "odd.png", 50, size=(9, 7))
    with pytest.raises(InputError, match=r"odd\.png is 9x7 pixels.* 8x8") as caught:
        load_data(str(tmp_path), GREY, 2, NO_TEST)
    assert str(odd) in str(caught.value)
    assert "--resize" in caught.value.todo
    resized = load_data(str(tmp_path), GREY, 2, DataOptions(resize=True))
    assert 50 in itertools.chain(*values(resized).values())


def test_height_comes_before_width(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(4):
            picture(tmp_path / name / f"{number}.png", size=(10, 6))
    assert load_data(str(tmp_path), (6, 10, 1), 2, NO_TEST).train.inputs.shape[1:] == (6, 10, 1)
    with pytest.raises(InputError, match="10x6 pixels, the network takes 6x10"):
        load_data(str(tmp_path), (10, 6, 1), 2, NO_TEST)


def test_damaged_images_are_named(tmp_path: Path) -> None:
    flat(tmp_path)
    damaged = picture(tmp_path / "light" / "03.png")
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(InputError, match=r"light/03\.png is not a readable image"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp"])
def test_damage_is_refused_or_harmless(tmp_path: Path, suffix: str) -> None:
    stream, chance = io.BytesIO(), random.Random(1)
    noise = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(stream, {".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
    flat(tmp_path, count=4)
    refused = []
    for _ in range(60):
        content = bytearray(stream.getvalue())
        for _ in range(chance.choice([1, 2, 5])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        damaged = tmp_path / "dark" / f"damaged{suffix}"
        damaged.write_bytes(content[: chance.randrange(len(content)) + 1])
        try:
            load_data(str(tmp_path), GREY, 2, DataOptions(holdout=0.2, test=0.2, resize=True))
        except InputError as error:
            refused.append(error.what)
    assert len(refused) > 10
    assert all(str(damaged) in what for what in refused)


def test_deep_images_are_not_cut_off_at_255(tmp_path: Path) -> None:
    flat(tmp_path)
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(tmp_path / "dark" / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png has more than 8 bits"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no class folders with images") as caught:
        load_data(str(tmp_path), GREY, 2, NO_TEST)
    assert str(tmp_path) in caught.value.what
    assert caught.value.exit_code == 5


def test_an_empty_test_folder(tmp_path: Path) -> None:
    flat(tmp_path / "train")
    (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match="holds no examples"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


def test_images_without_class_folders(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    with pytest.raises(InputError, match="no class folders"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


def test_a_single_class(tmp_path: Path) -> None:
    picture(tmp_path / "only" / "0.png")
    with pytest.raises(InputError, match="single class"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


def test_a_class_that_only_the_test_folder_has(tmp_path: Path) -> None:
    flat(tmp_path / "train")
    picture(tmp_path / "test" / "medium" / "0.png")
    with pytest.raises(InputError, match=r"has classes that .* has not: medium"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


def test_more_classes_than_outputs(tmp_path: Path) -> None:
    flat(tmp_path)
    picture(tmp_path / "medium" / "0.png")
    with pytest.raises(InputError, match="has 3 classes, the network has 2 outputs"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (8, 8, 4)])
def test_networks_that_take_no_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="not an image"):
        load_data(str(flat(tmp_path)), shape, 2, NO_TEST)


def test_too_many_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(tmp_path)
    monkeypatch.setattr(rows, "MAX_BYTES", 20 * 64)
    load_data(str(tmp_path), GREY, 2, NO_TEST)
    monkeypatch.setattr(rows, "MAX_BYTES", 20 * 64 - 1)
    with pytest.raises(InputError, match="in memory, more than"):
        load_data(str(tmp_path), GREY, 2, NO_TEST)
