"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.budget import RESOURCES
from adapt.report import values

ODD = [None, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("odd", ODD)
def test_what_makes_no_sense_is_a_dash(odd: float | None) -> None:
    texts = [
        values.amount("latency", odd),
        values.percent(odd),
        values.change(odd),
        values.points(odd),
        values.count(odd),
        values.duration(odd),
    ]
    assert texts == [values.UNKNOWN] * len(texts)


@pytest.mark.parametrize("odd", [*ODD, 0.0, -1.0])
def test_no_share_of_nothing(odd: float | None) -> None:
    assert values.ratio(1.0, odd) is None


def test_signs() -> None:
    assert values.change(0.0154) == "+1.5%"
    assert values.change(-0.0154) == "\N{MINUS SIGN}1.5%"
    assert values.points(-0.0044) == "\N{MINUS SIGN}0.44 points"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("13.3 us", "13.3 µs"), ("3 uJ", "3 µJ"), ("13.3 ms", "13.3 ms"), ("118 k", "118 k")],
)
def test_micro(text: str, expected: str) -> None:
    assert values.micro(text) == expected.replace("µ", "\N{MICRO SIGN}")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0.0 s"),
        (1.54, "1.5 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (11_220, "3 h 07 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert values.duration(seconds) == expected


def test_interval_is_that_of_the_literature() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148 and 0 of 20, score method.
    for right, examples, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        bounds = values.interval(right / examples, examples)
        assert bounds == pytest.approx((low, high), abs=5e-5)
    assert values.interval(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_interval_without_examples() -> None:
    assert values.interval(0.5, 0) is None
    assert values.interval(math.nan, 10) is None
    assert values.interval(1.5, 10) is None


@given(
    resource=st.sampled_from(list(RESOURCES)),
    value=st.floats(allow_nan=True, allow_infinity=True),
)
def test_every_amount_has_a_text(resource: str, value: float) -> None:
    assert values.amount(resource, value).isascii() == math.isfinite(value)
