"""When sentinels say that a platform has drifted, and when that it has not."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.refresh.drift import LEAST_DRIFT, Pair, Round, confirmed, judge_round
from adapt.refresh.noise import learn_noise
from adapt.refresh.sentinels import Kind
from lookup_tables import Entry, Kernel, Tensor

NOISE = learn_noise([])
OPS = ("ADD", "CONV_2D", "PAD", "SOFTMAX")


def pair(op: str, number: int, ratio: float, us: float = 20.0, error: float = 0.003) -> Pair:
    kernel = Kernel.make(op, [Tensor("int8", (number,))], [Tensor("int8", (number,))])
    before = Entry(us, error, 0.2, 1, 0.0)
    return Pair(kernel, before, Entry(us * ratio, error, 0.2, 2, 1.0))


def judged(ratios: Mapping[str, list[float]], us: float = 20.0, error: float = 0.003) -> Round:
    """A round with these ratios of new time by old, by operator."""
    found = judge_round(
        [pair(op, n, r, us, error) for op in ratios for n, r in enumerate(ratios[op], start=1)],
        NOISE,
    )
    assert found is not None
    return found


def kind(op: str) -> Kind:
    return Kind(op, "int8")


def test_nothing_timed() -> None:
    assert judge_round([], NOISE) is None


@given(st.lists(st.floats(0.99, 1.01), min_size=1, max_size=8))
def test_a_percent_is_quiet(ratios: list[float]) -> None:
    found = judged(dict.fromkeys(OPS, ratios))
    assert found.quiet
    assert confirmed(found, found) == {}


@given(
    st.floats(0.15, 2.0),
    st.booleans(),
    st.lists(st.floats(0.99, 1.01), min_size=2, max_size=8),
)
def test_a_drift_of_everything(change: float, faster: bool, own: list[float]) -> None:
    ratio = math.exp(-change if faster else change)
    found = judged({op: [ratio * each for each in own] for op in OPS})
    (scope, shift), *rest = confirmed(found, found).items()
    assert (scope, rest) == (None, [])
    assert shift.ratio == pytest.approx(ratio, rel=0.011)


def test_one_stray_kernel_is_no_drift() -> None:
    found = judged({"CONV_2D": [1.0, 1.6, 1.01, 0.99, 1.0], "ADD": [1.0, 1.0, 0.4]})
    assert found.quiet


def test_one_kind_alone() -> None:
    found = judged({"CONV_2D": [1.0] * 3, "ADD": [1.3, 1.31, 1.29], "PAD": [1.0, 1.01]})
    assert not found.whole.beyond_noise
    assert found.suspects == [kind("ADD")]
    drifts = confirmed(found, found)
    assert {scope: shift.ratio for scope, shift in drifts.items()} == {
        kind("ADD"): pytest.approx(1.3)
    }


def test_a_kind_with_most_sentinels_is_one_kind() -> None:
    found = judged({"CONV_2D": [1.3] * 12, "ADD": [1.0, 1.0], "PAD": [1.0, 1.0]})
    assert list(confirmed(found, found)) == [kind("CONV_2D")]


def test_two_rounds_must_agree() -> None:
    quiet = judged({op: [1.0] * 4 for op in OPS})
    slower = judged({op: [1.2] * 4 for op in OPS})
    slowest = judged({op: [1.4] * 4 for op in OPS})
    faster = judged({op: [0.8] * 4 for op in OPS})
    some = judged({"ADD": [1.2] * 4, "CONV_2D": [1.0] * 4, "PAD": [1.0] * 4})
    assert confirmed(slower, quiet) == confirmed(quiet, slower) == confirmed(slower, faster) == {}
    for first, second in ((slower, slowest), (slowest, slower)):
        assert confirmed(first, second)[None].ratio == pytest.approx(1.2)
    assert list(confirmed(slower, some)) == list(confirmed(some, slower)) == [kind("ADD")]


def test_stated_errors_and_small_kernels_are_noise() -> None:
    ratios = {op: [1.1] for op in OPS}
    assert judged(ratios).whole.beyond_noise
    assert not judged(ratios, error=0.15).whole.beyond_noise
    assert judged(ratios, us=0.1).whole.noise > judged(ratios).whole.noise


def test_sentinels_that_contradict_each_other_are_noise() -> None:
    scattered = {op: [0.6, 0.9, 1.3, 1.6] for op in OPS}
    assert judged(scattered).whole.noise > 2 * judged({op: [1.1] * 4 for op in OPS}).whole.noise


def test_a_shift_that_every_measurement_may_be_wrong_by_is_none() -> None:
    calm = learn_noise([])
    certain = [pair(op, n, 1.015, error=0.0) for op in OPS for n in range(1, 200)]
    found = judge_round(certain, type(calm)(0.0, ((0.0, 1e-6),)))
    assert found is not None
    assert found.whole.noise == LEAST_DRIFT
    assert found.quiet


def random_round(chance: random.Random, drift: float) -> Round:
    """As measured on a shared machine: shifts of some percent, kernels with heavy tails."""
    shift = chance.gauss(math.log(drift), 0.015)
    ratios = {
        op: [
            math.exp(shift + chance.gauss(0, 0.15 if chance.random() < 0.05 else 0.012))
            for _ in range(4)
        ]
        for op in OPS
    }
    return judged(ratios)


def test_of_many_nights_none_is_a_false_alarm_and_every_drift_is_found() -> None:
    chance = random.Random(1)
    alarms = [confirmed(random_round(chance, 1.0), random_round(chance, 1.0)) for _ in range(500)]
    assert sum(map(bool, alarms)) <= 2
    found = [confirmed(random_round(chance, 1.2), random_round(chance, 1.2)) for _ in range(200)]
    assert all(list(each) == [None] for each in found)
    assert all(1.1 < each[None].ratio < 1.25 for each in found)
