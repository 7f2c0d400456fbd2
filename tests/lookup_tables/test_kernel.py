"""Kernel and Platform: canonical text, parsing back, and what is not canonical."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup_tables.kernel import DTYPES, MAX_TEXT, Kernel, Platform, Tensor, TextError

SIZES = st.integers(0, 5000)
SHAPES = st.lists(SIZES, max_size=5).map(tuple)
TENSORS = st.builds(
    Tensor,
    dtype=st.sampled_from(DTYPES),
    shape=SHAPES,
    constant=st.booleans(),
    values=st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6).map(tuple),
    quantized_axis=st.none() | st.integers(0, 4),
)
OPTIONS = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True),
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.from_regex(r"[A-Z_]{1,8}", fullmatch=True),
    max_size=5,
)
KERNELS = st.builds(
    Kernel.make,
    op=st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True),
    inputs=st.lists(st.none() | TENSORS, max_size=5),
    outputs=st.lists(TENSORS, min_size=1, max_size=3),
    options=OPTIONS,
)
PLATFORMS = st.builds(
    Platform,
    *[st.text(max_size=30)] * 7,
    threads=st.integers(1, 64),
    core_mask=st.integers(0, 2**64 - 1),
)
TEXT = (
    "CONV_2D(float32[1,32,32,3], const float32[16,3,3,3], none) -> float32[1,32,32,16];"
    " activation=RELU, stride_h=1"
)


def test_reads_like_a_signature() -> None:
    kernel = Kernel.make(
        "PAD",
        [Tensor("int8", (1, 4)), Tensor("int32", (2, 2), True, values=(0, 0, 1, -1))],
        [Tensor("int8", (1, 4), quantized_axis=0)],
    )
    assert kernel.text == "PAD(int8[1,4], const int32[2,2]={0,0,1,-1}) -> int8/0[1,4]"


def test_key_is_the_same_everywhere_and_for_ever() -> None:
    assert Kernel.parse(TEXT).key == "a7bf73f02cd68c5dc2fb8225103ce464"


@given(KERNELS)
def test_kernel_parses_back(kernel: Kernel) -> None:
    again = Kernel.parse(kernel.text)
    assert again == kernel
    assert again.key == kernel.key


@given(PLATFORMS)
def test_platform_parses_back(platform: Platform) -> None:
    assert Platform.parse(platform.text) == platform


@given(OPTIONS)
def test_order_of_options_does_not_matter(options: dict[str, object]) -> None:
    output = [Tensor("int8", (1,))]
    backwards = dict(reversed(options.items()))
    assert Kernel.make("ADD", [], output, options) == Kernel.make("ADD", [], output, backwards)


@given(KERNELS, KERNELS)
def test_different_kernels_differ_in_text(one: Kernel, other: Kernel) -> None:
    assert (one == other) == (one.text == other.text)


@given(st.data())
def test_damaged_kernel_text_is_refused_or_canonical(data: st.DataObject) -> None:
    text = data.draw(st.just(TEXT) | KERNELS.map(lambda kernel: kernel.text))
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + cut :]
    try:
        kernel = Kernel.parse(damaged)
    except TextError:
        return
    assert kernel.text == damaged


@given(st.text(max_size=80) | st.from_regex(r"[A-Z]+\([a-z0-9, \[\]={}-]*\) -> .*"))
def test_any_text_is_refused_or_canonical(text: str) -> None:
    for kind in (Kernel, Platform):
        try:
            value = kind.parse(text)
        except TextError:
            continue
        assert value.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CONV_2D",
        TEXT + "\n",
        TEXT.replace("float32[1,32", "float31[1,32"),
        TEXT.replace("activation=RELU, stride_h=1", "stride_h=1, activation=RELU, x"),
        TEXT.replace("-> float32", "-> none, float32"),
        TEXT.replace("[16,3,3,3]", "[16,,3,3]"),
        TEXT.replace("[16,3,3,3]", "[16,3,3,3]={1--2}"),
        TEXT.replace("[16,3,3,3]", "[\u0663]"),
        "A(" + "[" * MAX_TEXT + ") -> float32[1]",
        "A(" + ") -> ; " * (MAX_TEXT // 8) + "\n",
        "A(float32[" + "9" * 6000 + "]) -> float32[1]",
    ],
)
def test_refuses_kernel_text(text: str) -> None:
    with pytest.raises(TextError):
        Kernel.parse(text)


def platform_text(**changes: object) -> str:
    platform = Platform("a", "b", "c", "d", "e", "f", "g", 1)
    fields = {**dataclasses.asdict(platform), **changes}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * MAX_TEXT,
        platform_text() + " ",
        platform_text(threads="1"),
        platform_text(threads=True),
        platform_text(soc=1),
        platform_text(extra=1),
        platform_text(soc="x" * MAX_TEXT),
    ],
)
def test_refuses_platform_text(text: str) -> None:
    with pytest.raises(TextError):
        Platform.parse(text)


def test_dtype_is_that_of_the_data() -> None:
    weights = Tensor("int8", (4,), constant=True)
    assert Kernel.make("X", [weights, None, Tensor("int16", (4,))], [weights]).dtype == "int16"
    assert Kernel.make("X", [weights], [Tensor("bool", (1,))]).dtype == "bool"


def test_option_by_name() -> None:
    kernel = Kernel.parse(TEXT)
    assert kernel.option("activation") == "RELU"
    with pytest.raises(KeyError):
        kernel.option("padding")
