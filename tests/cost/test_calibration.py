"""The analytic model calibrated to few kernels, on times that were recorded on a server."""

from __future__ import annotations

import csv
import math
import random
import statistics
from pathlib import Path

import pytest

from adapt.cost.calibration import Calibration, class_of
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import macs
from lookup_tables import Kernel, Tensor

Times = dict[Kernel, tuple[float, float]]

# What the product promises: so many kernels measured, so many others asked for, and how much better
# than in proportion to MACs.
MEASURED, ASKED, BETTER = 40, 200, 2.0


@pytest.fixture(scope="module")
def times() -> Times:
    """300 kernels of well-known networks, drawn at random: microseconds and relative errors."""
    with (Path(__file__).parent / "data" / "kernels.csv").open(newline="") as file:
        return {
            Kernel.parse(row["kernel"]): (float(row["latency_us"]), float(row["relative_error"]))
            for row in csv.DictReader(file)
        }


def drawn(times: Times, seed: int, measured: int = MEASURED) -> tuple[Times, list[Kernel]]:
    kernels = sorted(times, key=lambda kernel: kernel.key)
    random.Random(seed).shuffle(kernels)
    few = {kernel: times[kernel] for kernel in kernels[:measured]}
    return few, kernels[measured : measured + ASKED]


def error(told: float, us: float) -> float:
    return abs(told / us - 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("all_kinds", [True, False], ids=["all kernels", "those with MACs"])
def test_forty_kernels_tell_two_hundred_others(times: Times, seed: int, all_kinds: bool) -> None:
    pool = {k: v for k, v in times.items() if all_kinds or macs(k)}
    few, others = drawn(pool, seed)
    told = Calibration(few).estimates(others)
    rates = {
        dtype: statistics.median(
            us / macs(k) for k, (us, _) in few.items() if macs(k) and k.dtype == dtype
        )
        for dtype in ("float32", "int8")
    }
    mine = statistics.median(error(told[k].value, times[k][0]) for k in others)
    by_macs = statistics.median(error(rates[k.dtype] * macs(k), times[k][0]) for k in others)
    assert mine * BETTER <= by_macs
    assert mine <= 0.35


def test_stated_errors_hold_nine_times_in_ten(times: Times) -> None:
    within, left_out, found = [], [], []
    for seed in range(5):
        few, others = drawn(times, seed)
        calibration = Calibration(few)
        told = calibration.estimates(others)
        errors = [error(told[k].value, times[k][0]) for k in others]
        within += [e <= told[k].relative_error for e, k in zip(errors, others, strict=True)]
        left_out.append(calibration.error)
        found.append(statistics.median(errors))
    assert statistics.mean(within) >= 0.9
    # The error by leaving each out is that of kernels that were never in.
    assert statistics.mean(e or 0 for e in left_out) == pytest.approx(
        statistics.mean(found), rel=0.35
    )


def test_left_out_is_what_the_others_say(times: Times) -> None:
    """The formula for leaving each out, against doing it."""
    pool = {k: v for k, v in times.items() if class_of(k) == ("CONV_2D", "float32")}
    few, _ = drawn(pool, 1, measured=15)
    errors = []
    for kernel, (us, _) in few.items():
        rest = Calibration({k: v for k, v in few.items() if k != kernel})
        errors.append(error(rest.estimates([kernel])[kernel].value, us))
    # The level that is drawn to is the middle of all, or of the others: hardly a difference.
    assert Calibration(few).error == pytest.approx(statistics.median(errors), rel=0.05)


def test_more_kernels_make_it_better(times: Times) -> None:
    errors = []
    for measured in (5, 80):
        medians = []
        for seed in range(4):
            few, others = drawn(times, seed, measured)
            told = Calibration(few).estimates(others)
            medians.append(statistics.median(error(told[k].value, times[k][0]) for k in others))
        errors.append(statistics.mean(medians))
    assert errors[1] < 0.6 * errors[0]


def test_neither_order_nor_company_changes_an_answer(times: Times) -> None:
    few, others = drawn(times, 2)
    backwards = Calibration(dict(reversed(few.items())))
    together = Calibration(few).estimates(others)
    assert backwards.estimates(others[::-1]) == together
    alone = Calibration(few).estimates(others[7:8])
    assert alone[others[7]].value == together[others[7]].value


def test_one_kernel_is_enough_and_says_how_little_it_tells(times: Times) -> None:
    (kernel, (us, _)), *_ = times.items()
    calibration = Calibration({kernel: (us, 0.01)})
    assert calibration.error is None
    assert calibration.left_out() == {}
    assert "error unknown" in str(calibration)
    told = calibration.estimates(times)
    assert told[kernel].value == pytest.approx(us)
    assert statistics.median(each.relative_error for each in told.values()) > 1
    assert all(each.value > 0 for each in told.values())


def test_classes_are_told_apart(times: Times) -> None:
    calibration = Calibration(drawn(times, 3, 200)[0])
    left_out = calibration.left_out()
    assert sum(each.kernels for each in left_out.values()) == 200
    assert {("CONV_2D", "float32"), ("CONV_2D", "int8")} <= set(left_out)
    assert f"{calibration.error:.0%}" in str(calibration)


def test_a_platform_twice_as_fast_is_told_as_such(times: Times) -> None:
    few, others = drawn(times, 4)
    half = {kernel: (us / 2, e) for kernel, (us, e) in few.items()}
    told, told_half = Calibration(few).estimates(others), Calibration(half).estimates(others)
    for kernel in others:
        assert told_half[kernel].value == pytest.approx(told[kernel].value / 2)


def test_an_operator_that_was_never_seen_has_an_answer(times: Times) -> None:
    few = {k: v for k, v in times.items() if k.op == "CONV_2D"}
    tensor = Tensor("float32", (1, 28, 28, 64))
    relu = make_kernel("RELU", [tensor], [tensor])
    (told,) = Calibration(few).estimates([relu]).values()
    assert class_of(relu) not in Calibration(few).left_out()
    assert 0 < told.value < 1e3
    assert told.relative_error > 1


def test_a_damaged_layer_is_told_by_its_bytes(times: Times) -> None:
    empty = Tensor("float32", (1, 0))
    weights = Tensor("float32", (8, 0), constant=True)
    dense = Kernel.make("FULLY_CONNECTED", [empty, weights], [Tensor("float32", (1, 8))])
    (told,) = Calibration(times).estimates([dense]).values()
    assert math.isfinite(told.value)


def test_nothing_measured_is_nothing_to_go_by() -> None:
    with pytest.raises(ValueError, match="nothing to calibrate"):
        Calibration({})
