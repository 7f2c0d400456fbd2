"""Hardware files and shape lists: what is read, and what a mistake in them is answered with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.cost.eyeriss import Operand, load_hardware
from adapt.cost.eyeriss.hardware import hardware_names
from adapt.cost.eyeriss.shape_lists import built_in_lists, read_built_in, read_shape_list
from adapt.errors import InputError, UsageError

LINE = "1,13,13,8,2,100,16,3,3,4,16,0,8,13,13,16,2,0,16,1,1,1,1,1,1"
OWN = """
description = "mine"
[array]
rows = 4
columns = 5
[scratchpad]
shared = 64
[buffer]
words = 1000
[access]
dram = 100
buffer = 5
array = 2
scratchpad = 1
[timing]
word_bits = 8
clock_mhz = 100
dram_mb_per_s = 1000.5
[technology]
pj_per_mac = 0.8
"""


def test_a_line_of_the_web_tool(tmp_path: Path) -> None:
    file = tmp_path / "net.csv"
    file.write_text(f"# mine\n\n{LINE}\n{LINE.replace(',', '  ')} # second\n")
    found = read_shape_list(file)
    assert found.batch == 2
    first, second = found.layers
    assert (first.name, second.name) == ("1", "second")
    assert first == second
    assert (first.channels, first.filters, first.groups) == (8, 16, 2)
    assert (first.height, first.out_height, first.kernel_height) == (15, 13, 3)
    assert first.ifmap == Operand(16, 1 - 100 / (13 * 13 * 8 * 2))
    assert first.weight == Operand(8, 1.0)


def field(position: int, value: object) -> str:
    values: list[object] = list(LINE.split(","))
    values[position] = value
    return ",".join(map(str, values))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "net.csv:2: 3 numbers, not 25"),
        (LINE + ",7", "net.csv:2: 26 numbers, not 25"),
        (field(1, -13), "net.csv:2:3: ifmap height is '-13'\n  Valid: a whole number, 1 to"),
        (field(3, "x" * 90), "net.csv:2:9: ifmap channels is 'xxx"),
        (field(6, 65), "net.csv:2:17: ifmap bits is '65'\n  Valid: a whole number, 1 to 64"),
        (field(5, 2705), "ifmap zeros is 2705\n  Valid: 0 to 2704, the values that there are"),
        (field(9, 3), "filter channels is 3\n  Valid: a divisor of the ifmap's 8"),
        (field(7, 16), "filter height is 16\n  Valid: 1 to 15, the padded ifmap's height"),
        (field(13, 12), "ofmap height is 12\n  Valid: 13, what ifmap, filter, stride and padding"),
        (field(15, 17), "ofmap channels is 17\n  Valid: 16, the number of filters"),
        (field(16, 3), "ofmap number is 3\n  Valid: 2, that of the ifmaps"),
        (field(19, 0), "stride_y is '0'"),
        (field(21, "1.5"), "top padding is '1.5'"),
        (field(10, 9).replace(",16,2,", ",9,2,"), "groups is 2\n  Valid: a divisor of 8 channels"),
        ("", "net.csv has no layers"),
        ("# 1", "net.csv has no layers"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "net.csv"
    file.write_text(f"# mine\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_shape_list(file)
    assert message in str(caught.value)


@settings(max_examples=50)
@given(st.binary(max_size=200) | st.text("0123456789, #-\n", max_size=300).map(str.encode))
def test_any_bytes_are_layers_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("any") / "net.csv"
    file.write_bytes(content)
    with suppress(InputError):
        assert read_shape_list(file).layers


def test_the_networks_that_come_along() -> None:
    names = "alexnet googlenet mobilenet-v1 mobilenet-v2 resnet50 squeezenet vgg16"
    assert built_in_lists() == names.split()
    assert read_built_in("mobilenet-v1").layers[1].groups == 32


def test_the_hardware_that_comes_along() -> None:
    assert hardware_names() == ["eyeriss", "isca16"]
    chip = load_hardware("eyeriss")
    assert (chip.rows, chip.columns, chip.buffer_words) == (12, 14, 51_200)
    assert [chip.access_cost(level) for level in ("dram", "buffer", "array", "scratchpad")] == [
        200, 6, 2, 1,
    ]  # fmt: skip
    assert load_hardware("isca16").shared_words == 256


def test_hardware_of_a_user(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    found = load_hardware(str(file))
    assert (found.description, found.rows, found.shared_words) == ("mine", 4, 64)
    assert (found.ifmap_words, found.weight_words, found.psum_words) == (64, 64, 64)
    assert found.pj_per_mac == 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("rows = 4", "rows = 0"), "array.rows is 0\n  Valid: a whole number, 1 to 1024"),
        (("rows = 4", "rows = true"), "array.rows is True"),
        (("rows = 4", ""), "array.rows is None"),
        (("shared = 64", "ifmap = 12"), "scratchpad.weight is None"),
        (("dram = 100", "dram = -1"), "access.dram is -1\n  Valid: a number above 0"),
        (("dram = 100", "dram = nan"), "access.dram is nan"),
        (("columns = 5", "columns = 5\ncolour = 1"), "array.colour is not a key"),
        (("[timing]", "[timings]"), "timings is not a table"),
        (("[array]", "array = 3\n[access2]"), "array is not a table"),
        (("[array]", "[array"), "is not a hardware file"),
    ],
)
def test_wrong_hardware_is_named_with_its_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(OWN.replace(*change))
    with pytest.raises(InputError) as caught:
        load_hardware(str(file))
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["tpu", "missing.toml", "../eyeriss"])
def test_unknown_hardware_is_told_the_choice(name: str) -> None:
    with pytest.raises(UsageError, match="Give one of eyeriss, isca16"):
        load_hardware(name)
