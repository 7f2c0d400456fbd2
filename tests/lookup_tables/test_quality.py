"""Which windows are believed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup_tables.quality import (
    ACCEPTABLE_TARGETS,
    MAX_LATENCY_US,
    MAX_SPEED_UP,
    MIN_KERNEL_US,
    Accepted,
    Reason,
    Rejected,
    Window,
    cold_time,
    judge,
    kernel_error,
    kernel_time,
)

TARGET = 0.005
GOOD = Window(
    samples=100,
    preempted=3,
    invokes_per_sample=2,
    low_us=50.0,
    median_us=51.0,
    min_us=49.0,
    cpu_us=50.5,
    start_ms=1.0,
)
FLOATS = ("low_us", "median_us", "min_us", "cpu_us", "start_ms")


def scaled(factor: float) -> Window:
    """GOOD on a machine that is `factor` times slower for the moment."""
    times = ("low_us", "median_us", "min_us", "cpu_us")
    return changed(**{name: getattr(GOOD, name) * factor for name in times})


def changed(**changes: Any) -> Window:
    """GOOD with other values in some fields."""
    return replace(GOOD, **changes)


def verdict(*windows: Window) -> Accepted | Rejected:
    return judge(windows, target_relative_error=TARGET)


def reason(*windows: Window) -> Reason:
    result = verdict(*windows)
    assert isinstance(result, Rejected)
    assert result.detail
    return result.reason


def test_mean_and_difference_of_the_two_fastest() -> None:
    result = verdict(scaled(1.3), scaled(1.004), scaled(9.0), scaled(1.0))
    assert isinstance(result, Accepted)
    assert result.latency_us == pytest.approx(50.1)
    assert result.relative_error == pytest.approx(0.2 / 50.1)
    assert result.windows_used == 4


@given(st.permutations([1.0, 1.002, 1.1, 1.5, 2.0, 1000.0]))
def test_order_and_slow_outliers_do_not_matter(factors: list[float]) -> None:
    fastest = verdict(scaled(1.0), scaled(1.002))
    assert isinstance(fastest, Accepted)
    assert verdict(*map(scaled, factors)) == replace(fastest, windows_used=6)


def test_short_of_the_target_is_accepted_with_its_error() -> None:
    result = verdict(scaled(1.0), scaled(1 + TARGET * (ACCEPTABLE_TARGETS - 0.5)))
    assert isinstance(result, Accepted)
    assert result.relative_error > TARGET


def test_far_from_the_target_is_not() -> None:
    assert reason(scaled(1.0), scaled(1 + TARGET * (ACCEPTABLE_TARGETS + 0.5))) == Reason.UNSTEADY


@pytest.mark.parametrize("windows", [(), (GOOD,)])
def test_too_few(windows: tuple[Window, ...]) -> None:
    assert reason(*windows) == Reason.TOO_FEW_WINDOWS


def test_preempted_windows_do_not_count() -> None:
    disturbed = replace(scaled(0.5), preempted=GOOD.samples)
    assert reason(disturbed, disturbed) == Reason.PREEMPTED
    assert reason(disturbed, GOOD) == Reason.TOO_FEW_WINDOWS
    assert verdict(disturbed, GOOD, GOOD) == Accepted(50.0, 0.0, 2)


@given(
    name=st.sampled_from(FLOATS),
    value=st.sampled_from([math.nan, math.inf, -math.inf, -1.0, MAX_LATENCY_US * 2]),
    good=st.integers(0, 5),
)
def test_one_impossible_value_condemns_the_result(name: str, value: float, good: int) -> None:
    if name == "start_ms" and value == MAX_LATENCY_US * 2:
        return  # Eleven days into a batch is odd, but not impossible.
    bad = changed(**{name: value})
    assert reason(*[GOOD] * good, bad, GOOD) in (Reason.INVALID, Reason.CLOCK)


@pytest.mark.parametrize(
    "changes",
    [
        {"low_us": 0.0, "min_us": 0.0},
        {"samples": 0, "preempted": 0},
        {"samples": -1},
        {"preempted": -1},
        {"preempted": 101},
        {"invokes_per_sample": 0},
        {"low_us": 52.0},
        {"min_us": 50.5},
    ],
)
def test_windows_that_contradict_themselves(changes: dict[str, float]) -> None:
    assert reason(GOOD, changed(**changes), GOOD) == Reason.INVALID


def test_more_cpu_time_than_wall_time_is_a_broken_clock() -> None:
    assert reason(GOOD, replace(GOOD, cpu_us=80.0)) == Reason.CLOCK
    coarse = replace(GOOD, cpu_us=51.0 * 1.2)
    assert isinstance(verdict(coarse, coarse), Accepted)


def test_two_windows_far_below_all_others_are_a_broken_clock() -> None:
    fast = scaled(1 / (2 * MAX_SPEED_UP))
    assert reason(fast, fast, GOOD, GOOD, GOOD) == Reason.CLOCK
    assert reason(fast, GOOD, GOOD) == Reason.UNSTEADY


@given(
    st.lists(
        st.builds(
            Window,
            samples=st.integers(0, 3),
            preempted=st.integers(0, 3),
            invokes_per_sample=st.integers(0, 3),
            low_us=st.floats(),
            median_us=st.floats(),
            min_us=st.floats(),
            cpu_us=st.floats(),
            start_ms=st.floats(),
        ),
        max_size=6,
    )
)
def test_whatever_is_accepted_may_stand_in_a_table(windows: list[Window]) -> None:
    result = judge(windows, target_relative_error=TARGET)
    if isinstance(result, Accepted):
        assert 0 < result.latency_us < MAX_LATENCY_US
        assert 0 <= result.relative_error <= TARGET * ACCEPTABLE_TARGETS
        assert 2 <= result.windows_used <= len(windows)
        assert min(w.low_us for w in windows) <= result.latency_us


def test_kernel_time_subtracts_the_null_op_and_stays_positive() -> None:
    assert kernel_time(10.0, 0.44) == pytest.approx(9.56)
    assert kernel_time(0.43, 0.44) == MIN_KERNEL_US


def test_error_of_a_difference() -> None:
    measured = Accepted(10.0, 0.01, 2)
    assert kernel_error(measured, 5.0, 0.02) == pytest.approx((0.1 + 0.1) / 5.0)


def test_only_faults_of_the_model_itself_are_poisonous() -> None:
    assert {r for r in Reason if r.poisonous} == {Reason.CRASHED, Reason.HUNG, Reason.REFUSED}


def test_cold_time_is_what_each_copy_takes() -> None:
    null, many = Accepted(0.5, 0.1, 5), Accepted(0.5 + 9 * 20.5, 0.002, 4)
    cold = cold_time(many, 9, null, beside_us=0.5)
    assert cold.latency_us == pytest.approx(20.0)
    assert cold.relative_error == pytest.approx((185 * 0.002 + 0.5 * 0.1) / 9 / 20)
    assert cold.windows_used == 4
    assert cold_time(null, 9, many, beside_us=0.5).latency_us == MIN_KERNEL_US
