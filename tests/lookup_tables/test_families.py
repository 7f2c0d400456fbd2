"""Which kernels belong together, and what changes from one to the next."""

from __future__ import annotations

import pytest

from lookup_tables import Kernel
from lookup_tables.families import member, resized

CONV = (
    "CONV_2D(float32[1,32,32,3], const float32[16,3,3,3], const float32[16])"
    " -> float32[1,32,32,16]; padding=SAME, stride_h=1, stride_w=1"
)
QUANTIZED = (
    "CONV_2D(int8[1,8,8,24], const int8/0[16,1,1,24], const int32/0[16]) -> int8[1,8,8,16];"
    " padding=SAME"
)
WITHOUT_BIAS = "CONV_2D(float32[1,8,8,4], const float32[6,1,1,4], none) -> float32[1,8,8,6]"
DEPTHWISE = (
    "DEPTHWISE_CONV_2D(float32[1,7,7,20], const float32[1,5,5,40], const float32[40])"
    " -> float32[1,7,7,40]; depth_multiplier=2"
)
DENSE = "FULLY_CONNECTED(float32[1,96], const float32[10,96], const float32[10]) -> float32[1,10]"
FLATTENING = "FULLY_CONNECTED(float32[1,2,2,24], const float32[10,96], none) -> float32[1,10]"
ADD = "ADD(float32[1,7,7,24], float32[1,7,7,24]) -> float32[1,7,7,24]; pot_scale_int16=true"
SQUEEZE = "MUL(float32[1,7,7,24], float32[1,1,1,24]) -> float32[1,7,7,24]"
SCALAR = "MUL(float32[1,7,7,24], const float32[1]) -> float32[1,7,7,24]"
MEAN = "MEAN(float32[1,7,7,24], const int32[2]={1,2}) -> float32[1,24]; keep_dims=false"
PAD = "PAD(float32[1,8,8,24], const int32[4,2]={0,0,0,1,0,1,0,0}) -> float32[1,9,9,24]"
CONCAT = "CONCATENATION(float32[1,4,4,8], float32[1,4,4,12]) -> float32[1,4,4,20]; axis=3"
RESHAPE = "RESHAPE(float32[1,4,4,8], const int32[2]={1,128}) -> float32[1,128]"
OPEN_RESHAPE = "RESHAPE(float32[1,4,4,8], const int32[2]={1,-1}) -> float32[1,128]"

CASES = {
    CONV: ("3x3", {"in": 3, "out": 16}),
    QUANTIZED: ("1x1", {"in": 24, "out": 16}),
    WITHOUT_BIAS: ("1x1", {"in": 4, "out": 6}),
    DEPTHWISE: ("5x5", {"channels": 20}),
    DENSE: ("", {"in": 96, "out": 10}),
    FLATTENING: ("", {"in": 24, "out": 10}),
    ADD: ("", {"channels": 24}),
    SQUEEZE: ("", {"channels": 24}),
    SCALAR: ("", {"channels": 24}),
    MEAN: ("", {"channels": 24}),
    PAD: ("", {"channels": 24}),
    CONCAT: ("", {"first": 8, "second": 12}),
    RESHAPE: ("", {"channels": 8}),
    OPEN_RESHAPE: ("", {"channels": 8}),
}

WITHOUT_FAMILY = {
    "over channels": "MEAN(float32[1,7,7,24], const int32[1]={3}) -> float32[1,7,7]",
    "of channels": "PAD(float32[1,4,24], const int32[3,2]={0,0,0,0,0,8}) -> float32[1,4,32]",
    "beside each other": "CONCATENATION(float32[1,4,4,8], float32[1,4,4,8]) -> float32[1,8,4,8];"
    " axis=1",
    "in groups": "CONV_2D(float32[1,8,8,8], const float32[8,3,3,4], none) -> float32[1,8,8,8]",
    "of no known rule": "TRANSPOSE(float32[1,8,8,8], const int32[4]={0,3,1,2}) -> float32[1,8,8,8]",
    "damaged": "CONV_2D(float32[8], const float32[8]) -> float32[8]",
    "without an axis": "CONCATENATION(float32[1,8], float32[1,8]) -> float32[1,16]",
    "of scalars": "ADD(float32[], float32[]) -> float32[]",
}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:40])
def test_channels_of_each_operator(text: str) -> None:
    window, channels = CASES[text]
    place = member(Kernel.parse(text))
    assert place is not None
    assert [axis.name for axis in place.family.axes] == list(channels)
    assert place.channels == tuple(channels.values())
    assert {axis.window for axis in place.family.axes} == {window}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:40])
def test_resized_stays_in_the_family(text: str) -> None:
    kernel = Kernel.parse(text)
    place = member(kernel)
    assert place is not None
    assert resized(kernel, place.channels) == kernel
    other = resized(kernel, [count + 5 for count in place.channels])
    assert other != kernel
    again = member(other)
    assert again is not None
    assert again.family == place.family
    assert again.channels == tuple(count + 5 for count in place.channels)
    assert resized(other, place.channels) == kernel


def test_what_follows_from_the_channels_is_resized() -> None:
    wider = resized(Kernel.parse(CONV), (5, 7))
    assert wider.text.startswith(
        "CONV_2D(float32[1,32,32,5], const float32[7,3,3,5], const float32[7])"
        " -> float32[1,32,32,7];"
    )
    assert resized(Kernel.parse(RESHAPE), (3,)).text == (
        "RESHAPE(float32[1,4,4,3], const int32[2]={1,48}) -> float32[1,48]"
    )
    assert resized(Kernel.parse(CONCAT), (1, 2)).outputs[0].shape == (1, 4, 4, 3)


def test_a_single_channel_has_a_single_scale() -> None:
    assert "const int8[1,1,1,24], const int32[1]" in resized(Kernel.parse(QUANTIZED), (24, 1)).text


@pytest.mark.parametrize("text", WITHOUT_FAMILY.values(), ids=WITHOUT_FAMILY)
def test_what_has_no_family(text: str) -> None:
    kernel = Kernel.parse(text)
    assert member(kernel) is None
    with pytest.raises(ValueError, match="channel counts"):
        resized(kernel, (8,))


def test_other_settings_are_other_families() -> None:
    families = {
        getattr(member(Kernel.parse(text)), "family", None)
        for text in (
            CONV,
            CONV.replace("SAME", "VALID"),
            CONV.replace("32,32", "16,16"),
            CONV.replace("float32", "float16"),
        )
    }
    assert len(families) == 4
