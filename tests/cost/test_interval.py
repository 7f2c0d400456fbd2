"""How sure a total is said to be."""

from __future__ import annotations

import math

import pytest

from adapt.cost.answer import Answer
from adapt.cost.base import Origin
from adapt.cost.interval import SHARED_ERROR, half_interval_us
from adapt.tflite.ops import make_kernel
from lookup_tables import Kernel, Tensor


def dense(units: int, inputs: int = 8) -> Kernel:
    weights = Tensor("float32", (units, inputs), constant=True)
    data, result = Tensor("float32", (1, inputs)), Tensor("float32", (1, units))
    return make_kernel("FULLY_CONNECTED", [data, weights, None], [result])


def relu(size: int) -> Kernel:
    return make_kernel("RELU", [Tensor("float32", (1, size))], [Tensor("float32", (1, size))])


MEASURED = Answer(10.0, 0.1)
GUESSED = Answer(10.0, 0.1, origin=Origin.INTERPOLATED)


def stated(*parts: tuple[Kernel, Answer]) -> float:
    """The half without what all share."""
    return half_interval_us(0.0, 0.0, parts)


def test_all_share_a_part_of_the_total() -> None:
    assert half_interval_us(100.0, 0.0, []) == pytest.approx(100 * SHARED_ERROR)
    half = half_interval_us(20.0, 0.5, [(dense(4), MEASURED)])
    assert half == pytest.approx(math.hypot(20 * SHARED_ERROR, 0.5, 1.0))


def test_measured_kernels_are_independent_but_for_the_same_twice() -> None:
    assert stated((dense(4), MEASURED), (dense(8), MEASURED)) == pytest.approx(math.sqrt(2))
    assert stated((dense(4), MEASURED), (dense(4), MEASURED)) == pytest.approx(2.0)


def test_interpolated_kernels_of_one_family_err_together() -> None:
    assert stated((dense(4), GUESSED), (dense(8), GUESSED)) == pytest.approx(2.0)
    assert stated((dense(4), GUESSED), (relu(8), GUESSED)) == pytest.approx(math.sqrt(2))
