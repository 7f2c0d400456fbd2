"""Whether the budget is met: the evidence, and what the spread of a measurement excuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from adapt.job import JobRequest, JobResult, Measured, NetworkResult
from adapt.report.verdict import Evidence, Outcome, check_limits, overall

Make = Callable[..., Any]


def measured(latency_us: float, spread: float = 0.01) -> Measured:
    return Measured(sha256="00" * 32, latency_us=latency_us, relative_error=spread, runs=3)


@pytest.fixture
def timed(
    result_of: Callable[..., JobResult], network_of: Callable[..., NetworkResult]
) -> Callable[..., JobResult]:
    """A result whose original takes 25.5 us and whose adapted network takes what is given."""

    def make(latency_us: float, spread: float = 0.01) -> JobResult:
        adapted = network_of(
            "adapted", 0.49, 0.89, measured={"latency": measured(latency_us, spread)}
        )
        return result_of(networks=[network_of("original", 1.0, 0.9), adapted])

    return make


@pytest.mark.parametrize(
    ("latency_us", "outcome"),
    [
        (12.0, Outcome.MET),
        (12.75, Outcome.MET),
        (12.85, Outcome.NEAR),
        (13.0, Outcome.MISSED),
        (math.nan, Outcome.UNKNOWN),
    ],
)
def test_relative_latency_is_of_the_measured_original(
    request_of: Make, timed: Make, latency_us: float, outcome: Outcome
) -> None:
    (check,) = check_limits(request_of(), timed(latency_us))
    # Of 25.5 us as measured; the 12.5 us of `limits` are half of what was predicted.
    assert check.allowed == pytest.approx(12.75)
    assert check.evidence is Evidence.MEASURED
    assert check.outcome is outcome


def test_spreads_of_both_networks_count_for_a_share(request_of: Make, timed: Make) -> None:
    (relative,) = check_limits(request_of(), timed(12.0, 0.03))
    (absolute,) = check_limits(request_of(budget=["latency=12.75us"]), timed(12.0, 0.03))
    assert relative.spread == pytest.approx(math.hypot(0.03, 0.01))
    assert absolute.spread == pytest.approx(0.03)


def test_an_unknown_spread_excuses_nothing(request_of: Make, timed: Make) -> None:
    (check,) = check_limits(request_of(budget=["latency=12us"]), timed(12.01, math.inf))
    assert check.outcome is Outcome.MISSED


def test_counts_are_held_against_the_resolved_limit(request_of: Make, result_of: Make) -> None:
    request, result = request_of(budget=["macs=50%"]), result_of(limits={"macs": 1.5e6})
    (check,) = check_limits(request, result)
    assert (check.value, check.allowed) == pytest.approx((3e6 * 0.49, 1.5e6))
    assert (check.evidence, check.outcome) == (Evidence.COUNTED, Outcome.MET)


def test_a_resource_only_the_search_knows_is_modelled(
    request_of: Make, result_of: Make, iteration_of: Make
) -> None:
    last = iteration_of(0, "", {"conv2d": 8}, 1.0)
    last = last.model_copy(update={"cost": {"energy": {"analytic": 70.0}}})
    result = result_of(limits={"energy": 60.0}, history=[last])
    (check,) = check_limits(request_of(budget=["energy=60uJ"]), result)
    assert (check.evidence, check.outcome) == (Evidence.MODELLED, Outcome.MISSED)


def test_what_is_measured_in_part_is_predicted(request_of: Make, result_of: Make) -> None:
    mixed = {"energy": {"measured": 20.0, "analytic": 30.0}}
    networks = [each.model_copy(update={"cost": mixed}) for each in result_of().networks]
    result = result_of(limits={"energy": 60.0}, networks=networks)
    (check,) = check_limits(request_of(budget=["energy=60uJ"]), result)
    assert (check.evidence, check.outcome) == (Evidence.PREDICTED, Outcome.MET)


def test_a_latency_that_nobody_measured_is_modelled(request_of: Make, result_of: Make) -> None:
    networks = costing(result_of, "latency", {"analytic": 25.0}, {"analytic": 12.0})
    (check,) = check_limits(request_of(), result_of(networks=networks))
    assert (check.value, check.allowed) == (12.0, 12.5)
    assert (check.evidence, check.outcome) == (Evidence.MODELLED, Outcome.MET)


def test_a_share_is_of_what_the_original_needs_in_the_same_minutes(
    request_of: Make, result_of: Make
) -> None:
    """The limit of the search, 60 uJ, was of prices of another hour."""
    networks = costing(result_of, "energy", {"measured": 102.0}, {"measured": 60.5})
    result = result_of(limits={"energy": 60.0}, networks=networks)
    (check,) = check_limits(request_of(budget=["energy=60%"]), result)
    assert check.allowed == pytest.approx(61.2)
    assert check.outcome is Outcome.MET
    (check,) = check_limits(request_of(budget=["energy=60uJ"]), result)
    assert (check.allowed, check.outcome) == (60.0, Outcome.MISSED)


def costing(result_of: Make, resource: str, *costs: dict[str, float]) -> list[NetworkResult]:
    """The original and the adapted network, with such costs and not measured."""
    original, adapted, *_ = result_of().networks
    return [
        each.model_copy(update={"measured": {}, "cost": {resource: cost}})
        for each, cost in zip((original, adapted), costs, strict=True)
    ]


def test_a_resource_that_nobody_knows_is_unknown(request_of: Make, result_of: Make) -> None:
    request, result = request_of(budget=["energy=60uJ"]), result_of(limits={"energy": 60.0})
    (check,) = check_limits(request, result)
    assert check.outcome is Outcome.UNKNOWN


def test_the_worst_limit_decides(request_of: Make, result_of: Make) -> None:
    request: JobRequest = request_of(budget=["latency=50%", "params=10k"])
    result = result_of(limits={"latency": 12.5, "params": 10_000})
    checks = check_limits(request, result)
    assert [check.outcome for check in checks] == [Outcome.MET, Outcome.MISSED]
    assert overall(checks) is Outcome.MISSED
