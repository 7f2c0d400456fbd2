"""Whatever is wrong with what the user gives: one message, no traceback, the right exit code."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import h5py  # type: ignore[import-untyped]
import numpy as np
import pytest
from PIL import Image

from adapt.demo import MODEL

if TYPE_CHECKING:
    from conftest import Adapt, Finished

    Make = Callable[[Path], Path]

USAGE, UNREACHABLE, DEVICE, INPUT, TABLE = 2, 3, 4, 5, 6
SIZE = (8, 8)


def refused(adapt: Adapt, finished: Finished, code: int, *mentions: str) -> None:
    """One message with `mentions`, `code`, and no half-made job."""
    assert finished.code == code, finished.err
    assert finished.out == ""
    assert "Traceback" not in finished.err
    lines = finished.err.splitlines()
    assert sum(line.startswith(("adapt: ", "Error: ")) for line in lines) == 1
    for mention in mentions:
        assert mention in finished.err
    assert not list(adapt.jobs.glob("*"))


# --- models ----------------------------------------------------------------------------------


def absent(folder: Path) -> Path:
    return folder / "absent.keras"


def text(folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_text("not a model")
    return path


def corrupt_h5(folder: Path) -> Path:
    path = folder / "model.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.arange(100_000)
    path.write_bytes(path.read_bytes()[:50_000])
    return path


def truncated_keras(folder: Path) -> Path:
    path = folder / "model.keras"
    path.write_bytes(MODEL.read_bytes()[:-1000])
    return path


def archive_of_something_else(folder: Path) -> Path:
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no network here")
    return path


def tflite(folder: Path) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    return path


def pytorch(folder: Path) -> Path:
    path = folder / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02")
    return path


def saved_model(folder: Path) -> Path:
    path = folder / "saved"
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    return path


@pytest.mark.parametrize(
    ("make", "mentions"),
    [
        (absent, ["no model file", "absent.keras"]),
        (text, ["not a .keras or .h5 file"]),
        (corrupt_h5, ["not a Keras model that can be loaded", "complete"]),
        (truncated_keras, ["not complete"]),
        (archive_of_something_else, ["not a Keras model that can be loaded"]),
        (tflite, ["TensorFlow Lite file", "made from"]),
        (pytorch, ["PyTorch file", "Keras"]),
        (saved_model, ["SavedModel folder", "model.save('model.keras')"]),
    ],
)
def test_models(bare_adapt: Adapt, tmp_path: Path, make: Make, mentions: list[str]) -> None:
    finished = bare_adapt.quick(
        "run", "--model", make(tmp_path), "--data", "adapt.demo:digits", "--budget", "macs=50%"
    )
    refused(bare_adapt, finished, INPUT, *mentions)


# --- data ------------------------------------------------------------------------------------


def images(folder: Path, *classes: str, size: tuple[int, int] = SIZE) -> Path:
    """Twenty random images of each class."""
    chance = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = chance.integers(0, 256, size, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def empty_folder(folder: Path) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


def one_class(folder: Path) -> Path:
    return images(folder / "data", "cat")


def other_size(folder: Path) -> Path:
    return images(folder / "data", "cat", "dog", size=(9, 12))


def too_many_classes(folder: Path) -> Path:
    return images(folder / "data", *map(str, range(11)))


def damaged_image(folder: Path) -> Path:
    path = images(folder / "data", "cat", "dog")
    (path / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    return path


def damaged_npz(folder: Path) -> Path:
    path = folder / "data.npz"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    return path


@pytest.mark.parametrize(
    ("make", "mentions"),
    [
        (absent, ["no data at", "absent.keras"]),
        (empty_folder, ["class folders", "sub-folder"]),
        (one_class, ["single class"]),
        (other_size, ["12x9", "8x8", "--resize"]),
        (too_many_classes, ["11 classes", "10 outputs"]),
        (damaged_image, ["3.png"]),
        (damaged_npz, ["data.npz"]),
    ],
)
def test_data(bare_adapt: Adapt, tmp_path: Path, make: Make, mentions: list[str]) -> None:
    finished = bare_adapt.quick(
        "run", "--model", MODEL, "--data", make(tmp_path), "--budget", "macs=50%"
    )
    refused(bare_adapt, finished, INPUT, *mentions)


def test_a_function_of_the_users_that_fails(bare_adapt: Adapt) -> None:
    (bare_adapt.folder / "mine.py").write_text("def load():\n    print('hello')\n    1 / 0\n")
    finished = bare_adapt.quick("run", "--model", MODEL, "--data", "mine:load", "--budget=macs=50%")
    refused(bare_adapt, finished, INPUT, "mine:load", "ZeroDivisionError")
    assert "hello" in finished.err


# --- budgets ---------------------------------------------------------------------------------


def test_a_latency_that_cannot_be_met(adapt: Adapt) -> None:
    finished = adapt.quick("run", *adapt.DEMO, "--budget", "latency=0.1us")
    refused(adapt, finished, UNREACHABLE, "latency", "us at the least", "0.100 us asked for")


def test_images_are_resized_on_request(bare_adapt: Adapt, tmp_path: Path) -> None:
    """With --resize the data is taken: what is wrong then is the budget."""
    data = other_size(tmp_path)
    finished = bare_adapt.quick(
        "run", "--model", MODEL, "--data", data, "--resize", "--budget", "params=1"
    )
    refused(bare_adapt, finished, UNREACHABLE, "params", "at the least, 1 asked for")


# --- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--budget", "latency=fast"], ["latency=fast", "Accepted forms", "latency=12ms"]),
        (["--budget", "latency=5"], ["lacks a unit", "ms"]),
        (["--budget", "beauty=5"], ["beauty", "Accepted forms"]),
        (["--budget", "macs=50%", "--budget", "macs=1M"], ["macs twice"]),
        (["--budget", "macs=50%", "--device", "toaster"], ["toaster", "local"]),
        (["--budget", "macs=50%", "--colour", "red"], ["No such option", "--colour"]),
        (["--budget", "macs=50%", "--core-mask", "all"], ["core mask", "0xf0"]),
        (["--budget", "macs=50%", "--core-mask", "-1"], ["--core-mask", "greater"]),
        (["--budget", "macs=50%", "--threads", "0"], ["--threads", "1<=x<=1024"]),
        (["--budget", "macs=50%", "--holdout", "1.5"], ["--holdout", "less than 1"]),
        (["--budget", "macs=50%", "--holdout", "nan"], ["--holdout"]),
        (["--budget", "macs=50%", "--pixel-range", "1", "0"], ["--pixel-range", "smaller"]),
        (["--budget", "macs=50%", "--pixel-range", "0", "nan"], ["--pixel-range"]),
        (["--budget", "macs=50%", "--decay", "2"], ["--decay", "less than or equal to 1"]),
        ([], ["--budget"]),
    ],
)
def test_options(bare_adapt: Adapt, options: list[str], mentions: list[str]) -> None:
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *options)
    refused(bare_adapt, finished, USAGE, *mentions)


def test_a_configuration_that_is_not_understood(bare_adapt: Adapt, tmp_path: Path) -> None:
    (tmp_path / "adapt").mkdir()
    (tmp_path / "adapt" / "config.toml").write_text("colour = 'red'")
    finished = bare_adapt.quick(
        "run", *bare_adapt.DEMO, "--budget=macs=50%", XDG_CONFIG_HOME=str(tmp_path)
    )
    refused(bare_adapt, finished, USAGE, "colour", "docs/cli.md")


# --- device, table, folders ------------------------------------------------------------------


def test_a_python_without_the_runtime(bare_adapt: Adapt, tmp_path: Path) -> None:
    """-S leaves out all installed packages."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    finished = bare_adapt.quick(
        "run", *bare_adapt.DEMO, "--budget=macs=50%", "--agent-python", python
    )
    refused(bare_adapt, finished, DEVICE, "agent", "ModuleNotFoundError")


def test_a_python_that_is_not_there(bare_adapt: Adapt) -> None:
    finished = bare_adapt.quick(
        "run", *bare_adapt.DEMO, "--budget=macs=50%", "--agent-python", "/absent/python"
    )
    refused(bare_adapt, finished, DEVICE, "/absent/python", "No such file")


def test_a_table_that_is_none(bare_adapt: Adapt, tmp_path: Path) -> None:
    table = tmp_path / "table.db"
    table.write_bytes(b"something else " * 1000)
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, "--budget=macs=50%", "--tables", table)
    refused(bare_adapt, finished, TABLE, str(table), "not a lookup table")
    assert "resume" not in finished.err
    assert table.read_bytes() == b"something else " * 1000


def test_an_output_folder_with_something_in_it(bare_adapt: Adapt, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, "--budget=macs=50%", "--output", output)
    refused(bare_adapt, finished, INPUT, str(output), "not empty", "--output")
    assert [path.name for path in output.iterdir()] == ["thesis.tex"]


def test_a_failed_start_leaves_the_output_folder_free(bare_adapt: Adapt, tmp_path: Path) -> None:
    """The same command can be given again once the data is mended."""
    output = str(tmp_path / "output")
    command = ["run", "--model", str(MODEL), "--budget=params=1", "--output", output]
    refused(bare_adapt, bare_adapt.quick(*command, "--data", absent(tmp_path)), INPUT, "no data at")
    assert not (tmp_path / "output").exists()
    again = bare_adapt.quick(*command, "--data", "adapt.demo:digits")
    refused(bare_adapt, again, UNREACHABLE, "params")


def test_a_home_that_cannot_be_made(bare_adapt: Adapt, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finished = bare_adapt.quick(
        "run", *bare_adapt.DEMO, "--budget=macs=50%", ADAPT_HOME=str(tmp_path / "file" / "home")
    )
    refused(bare_adapt, finished, INPUT, str(tmp_path / "file"), "Not a directory")


def test_resume_of_what_is_no_job(bare_adapt: Adapt, tmp_path: Path) -> None:
    for name in ("absent", "."):
        finished = bare_adapt.quick("resume", name)
        refused(bare_adapt, finished, INPUT, "no job in", "adapt run")
    (tmp_path / "job.json").write_text('{"half": ')
    refused(bare_adapt, bare_adapt.quick("resume", tmp_path), INPUT, "job.json is not a job file")
