"""`adapt estimate`, as a user types it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.tflite.ops import make_kernel
from adapt.tflite.writer import write_kernel
from lookup_tables import Tensor

USAGE, INPUT = 2, 5
LINE = "1,13,13,8,2,100,16,3,3,4,16,0,16,13,13,16,2,0,16,1,1,1,1,1,1"
CONV = make_kernel(
    "CONV_2D",
    [
        Tensor("float32", (1, 8, 8, 3)),
        Tensor("float32", (16, 3, 3, 3), constant=True),
        Tensor("float32", (16,), constant=True),
    ],
    [Tensor("float32", (1, 8, 8, 16))],
    padding="SAME",
    stride_h=1,
    stride_w=1,
)
_WITHOUT_TENSORFLOW = """
import sys
from adapt.cli import main
try:
    main(sys.argv[1:])
finally:
    assert not {"tensorflow", "keras", "jax"} & set(sys.modules), "the command imports TensorFlow"
"""


def adapt(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["estimate", *map(str, arguments)], prog_name="adapt")
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(adapt(*arguments, "--json").stdout)
    return found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "conv.tflite"
    path.write_bytes(write_kernel(CONV))
    return path


def test_the_table_names_every_layer_and_says_what_it_is() -> None:
    out = adapt("alexnet", "--batch", "4").stdout
    assert "alexnet on Eyeriss chip" in out
    assert "analytic, mapped by optimal; energy of one image of 4 at a time" in out
    for name in ("CONV1", "CONV5", "FC3"):
        assert f"\n{name} " in out
    for head in ("DRAM", "buffer", "array", "scratchpad", "computation"):
        assert head in out
    assert "724.41 M MACs done" in out


def test_json_and_csv_say_the_same() -> None:
    (network,) = as_json("alexnet", "--policy", "mit2017", "--batch", "44")
    assert network["origin"] == "analytic"
    assert (network["policy"], network["batch"]) == ("mit2017", 44)
    printed = adapt("alexnet", "--policy=mit2017", "--batch=44", "--csv").stdout
    rows = list(csv.DictReader(printed.splitlines()))
    assert sum(float(row["energy"]) for row in rows) == pytest.approx(network["total"])
    assert sum(network["by_data"].values()) == pytest.approx(network["total"])
    assert sum(network["by_level"].values()) == pytest.approx(network["total"])
    assert len(rows) == 8 * 13
    first = network["layers"][0]
    assert set(first["mapping"]) == set("mneptqr")
    assert first["energy"]["computation"] == {"mac": 105_415_200.0}


def test_a_tflite_file_needs_no_tensorflow(model: Path) -> None:
    for what in (str(model), "vgg16"):
        finished = subprocess.run(
            [sys.executable, "-W", "error", "-c", _WITHOUT_TENSORFLOW, "estimate", what],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ,
        )
        assert finished.returncode == 0, finished.stderr
        assert "total" in finished.stdout


def test_bits_and_densities_of_the_command_line(model: Path) -> None:
    (plain,) = as_json(model)
    macs = plain["by_level"]["mac"]
    assert macs == plain["macs"] == 8 * 8 * 16 * 27
    (narrow,) = as_json(model, "--bits", "8")
    assert narrow["by_level"]["mac"] == macs / 4
    (mixed,) = as_json(model, "--bits", "weight=4", "--density", "weight=0.5")
    assert mixed["by_level"]["mac"] == macs / 8
    assert mixed["layers"][0]["operands"]["weight"] == {"bits": 4.0, "density": 0.5}
    # The picture that the first layer reads has no zeros to skip.
    (active,) = as_json(model, "--density", "ifmap=0.1")
    assert active["by_level"]["mac"] == macs


def test_joules_where_a_technology_is_given(model: Path) -> None:
    (network,) = as_json(model, "--pj-per-mac", "2")
    assert network["joules"] == pytest.approx(network["total"] * 2e-12)
    assert "uJ" in adapt(model, "--pj-per-mac", "2").stdout
    assert as_json(model, "--hardware", "isca16")[0]["joules"] is None


def test_a_list_of_shapes_brings_its_batch_and_zeros(tmp_path: Path) -> None:
    file = tmp_path / "net.csv"
    file.write_text(LINE + " # only\n")
    (network,) = as_json(file)
    assert network["batch"] == 2
    (layer,) = network["layers"]
    assert layer["name"] == "only"
    assert layer["operands"]["ifmap"]["density"] == pytest.approx(1 - 100 / 2704)
    assert as_json(file, "--batch", "1")[0]["batch"] == 1


@pytest.mark.parametrize("kind", ["svg", "png"])
@pytest.mark.parametrize(
    "arguments",
    [["alexnet"], ["alexnet", "vgg16"], ["alexnet", "vgg16", "--accuracy=80", "--accuracy=90"]],
)
def test_pictures(tmp_path: Path, kind: str, arguments: list[str]) -> None:
    picture = tmp_path / f"energy.{kind}"
    adapt(*arguments, "--plot", picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]
    if kind == "svg":
        text = content.decode()
        assert "analytic; optimal, batch 1" in text
        assert "alexnet" in text
        assert "energy of one image (MACs)" in text
        assert ("accuracy (%)" in text) == (len(arguments) == 4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lenet"], USAGE, "no network 'lenet'\n  Give a .keras, .h5, .tflite or .csv file, or"),
        (["gone.csv"], INPUT, "there is no file gone.csv"),
        (["gone.tflite"], INPUT, "there is no file gone.tflite"),
        (["alexnet", "--hardware=tpu"], USAGE, "no hardware 'tpu'\n  Give one of eyeriss, isca16"),
        (["alexnet", "--batch=0"], USAGE, "a batch of 0 images\n  Valid: 1 to 4096."),
        (["alexnet", "--bits=65"], USAGE, "--bits ifmap=65: not a valid number\n  Valid: 1 to 64."),
        (["alexnet", "--bits=psum=8"], USAGE, "DATA is one of ifmap, ofmap, weight."),
        (["alexnet", "--density=weight=2"], USAGE, "Valid: 0 to 1."),
        (["alexnet", "--density=weight=nan"], USAGE, "Valid: 0 to 1."),
        (["alexnet", "--density=weight=1", "--density=weight=0"], USAGE, "given twice"),
        (["alexnet", "--data=x.npz"], USAGE, "--data cannot be run through alexnet"),
        (["alexnet", "--plot=a.pdf"], USAGE, "End the name in .png or .svg."),
        (["alexnet", "--accuracy=80"], USAGE, "1 accuracies for 1 networks and no picture"),
        (["alexnet", "--accuracy=180", "--plot=a.png"], USAGE, "Valid: 0 to 100, percent."),
        (["alexnet", "--pj-per-mac=0"], USAGE, "Valid: a number above 0."),
        (["alexnet", "--json", "--csv"], USAGE, "Give one of them."),
    ],
)
def test_a_mistake_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = adapt(*arguments, code=code)
    assert message in result.stderr
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_damaged_list_is_named_with_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "net.csv"
    file.write_text(f"# net\n{LINE.replace('13', '-13', 1)}\n")
    assert f"{file}:2:3: ifmap height is '-13'" in adapt(file, code=INPUT).stderr


def test_a_network_with_nothing_to_count(tmp_path: Path) -> None:
    path = tmp_path / "relu.tflite"
    tensor = Tensor("float32", (1, 8))
    path.write_bytes(write_kernel(make_kernel("RELU", [tensor], [tensor])))
    assert "no convolution and no dense layer" in adapt(path, code=INPUT).stderr


def test_zeros_of_feature_maps_are_counted_on_data(model: Path, tmp_path: Path) -> None:
    import numpy as np

    flat = tmp_path / "dense.tflite"
    kernel = make_kernel(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 4)), Tensor("float32", (2, 4), constant=True)],
        [Tensor("float32", (1, 2))],
    )
    flat.write_bytes(write_kernel(kernel))
    inputs = np.array([[0, 0, 0, 1.0]] * 20, np.float32)
    labels = np.array([0, 1] * 10)
    data = tmp_path / "data.npz"
    np.savez(data, x_train=inputs, y_train=labels, x_test=inputs, y_test=labels)
    (network,) = as_json(flat, "--data", data)
    assert network["layers"][0]["operands"]["ifmap"]["density"] == 0.25
    assert network["macs"] == 8 * 0.25 * network["layers"][0]["operands"]["weight"]["density"]
