"""Energies: from what a meter told to what a table answers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from lookup_tables import (
    STRIKES,
    BatchRecord,
    EnergyResult,
    EnergyRun,
    Kernel,
    Reason,
    Rejected,
    Store,
    TableError,
)
from lookup_tables.energy import MIN_KERNEL_UJ, judge_energy, kernel_energy

# Of 2 W, 0.5 W idle: 1.5 W for 1 s.
RUN = EnergyRun("rapl", 2_000_000.0, 1_000.0, 10_000, 400.0, 600.0, 3.0)
NULL = replace(RUN, invokes=1_000_000, error_uj=0.04)
RUN_UJ, NULL_UJ = 150.0, 1.5


def energy_batch(*kernels: Kernel, run: EnergyRun = RUN, null: EnergyRun | None = NULL) -> Any:
    results = tuple(EnergyResult(kernel, run) for kernel in kernels)
    return BatchRecord(wall_ms=1.0, energy=results, null_energy=null)


@pytest.fixture
def filled(store: Store, values: Any) -> Store:
    """Two entries of one platform, one of another."""
    results = [values.accepted(units, 10.0 + units) for units in (1, 2)]
    store.record_batch(values.platform, values.batch(*results))
    store.record_batch(values.other_platform, values.batch(*results[:1]))
    return store


def test_an_inference_takes_the_run_less_idle_power() -> None:
    assert RUN.inference_uj == pytest.approx(RUN_UJ)
    assert judge_energy(RUN) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run_uj": math.nan}, Reason.INVALID),
        ({"run_uj": -1.0}, Reason.INVALID),
        ({"run_uj": 499_000.0}, Reason.INVALID),
        ({"run_ms": math.inf}, Reason.INVALID),
        ({"invokes": 0}, Reason.INVALID),
        ({"meter": ""}, Reason.INVALID),
        ({"idle_after_mw": -1.0}, Reason.INVALID),
        ({"error_uj": math.nan}, Reason.INVALID),
        ({"error_uj": 0.26 * RUN_UJ}, Reason.UNSTEADY),
    ],
)
def test_what_is_not_believed(change: dict[str, Any], reason: Reason) -> None:
    rejected = judge_energy(replace(RUN, **change))
    assert rejected is not None
    assert rejected.reason is reason


def test_a_kernel_takes_the_model_less_the_null_op() -> None:
    energy = kernel_energy(RUN, NULL_UJ, 4.0)
    assert energy.kernel_uj == pytest.approx(RUN_UJ - NULL_UJ)
    assert energy.relative_error == pytest.approx(5.0 / (RUN_UJ - NULL_UJ))
    least = kernel_energy(RUN, RUN_UJ + 1, 4.0)
    assert (least.kernel_uj, least.relative_error) == (MIN_KERNEL_UJ, pytest.approx(5_000))


def test_an_energy_joins_the_time(filled: Store, values: Any) -> None:
    kernel = values.kernel(1)
    before = filled.entries(values.platform)[kernel]
    assert (before.energy_uj, before.energy_error, before.energy_meter) == (None, None, "")
    recorded = filled.record_batch(values.platform, energy_batch(kernel))
    entry = filled.entries(values.platform)[kernel]
    assert recorded.accepted == {kernel: entry}
    assert entry == replace(
        before,
        energy_uj=pytest.approx(RUN_UJ - NULL_UJ),
        energy_error=pytest.approx(math.hypot(3.0, 0.04) / (RUN_UJ - NULL_UJ)),
        energy_meter="rapl",
        energy_at=before.measured_at + 2.0,
    )
    assert filled.metered(values.platform, "rapl") == {kernel: entry}
    assert filled.metered(values.platform, "odpm") == {}
    assert filled.metered(values.other_platform, "rapl") == {}
    assert filled.entries(values.other_platform)[kernel].energy_uj is None


def test_timing_a_kernel_anew_keeps_its_energy_and_the_newest_energy_counts(
    filled: Store, values: Any
) -> None:
    kernel = values.kernel(1)
    filled.record_batch(values.platform, energy_batch(kernel))
    filled.record_batch(values.platform, values.batch(values.accepted(1, 12.0)))
    entry = filled.entries(values.platform)[kernel]
    assert (entry.latency_us, entry.energy_uj) == (11.5, pytest.approx(RUN_UJ - NULL_UJ))
    halved = replace(RUN, meter="odpm", invokes=20_000)
    null = replace(NULL, meter="odpm")
    filled.record_batch(values.platform, energy_batch(kernel, run=halved, null=null))
    entry = filled.entries(values.platform)[kernel]
    assert (entry.energy_uj, entry.energy_meter) == (pytest.approx(RUN_UJ / 2 - NULL_UJ), "odpm")


def test_a_batch_without_a_null_energy_takes_that_of_the_entries(
    filled: Store, values: Any
) -> None:
    first, second = values.kernel(1), values.kernel(2)
    lost = filled.record_batch(values.platform, energy_batch(first, null=None))
    assert lost.rejected[first].reason is Reason.NO_NULL
    filled.record_batch(values.platform, energy_batch(first))
    filled.record_batch(values.platform, energy_batch(second, null=None))
    assert filled.entries(values.platform)[second].energy_uj == pytest.approx(RUN_UJ - NULL_UJ)
    null = filled.null_energy(values.platform, "rapl")
    assert null is not None
    assert (null.inference_uj, null.error_uj) == (pytest.approx(NULL_UJ), 0.04)
    assert filled.null_energy(values.platform, "odpm") is None
    # Another meter's null op is none for this one.
    other = replace(RUN, meter="odpm")
    lost = filled.record_batch(values.platform, energy_batch(first, run=other))
    assert lost.rejected[first].reason is Reason.NO_NULL


def test_an_energy_without_a_time_is_rejected(store: Store, values: Any) -> None:
    recorded = store.record_batch(values.platform, energy_batch(values.kernel(1)))
    assert recorded.accepted == {}
    (rejection,) = store.rejections(values.platform)
    assert rejection.detail == "energy: the table has no time of its own of this kernel"


def test_energies_that_cannot_be_had_say_nothing_against_the_kernel(
    filled: Store, values: Any
) -> None:
    crash = EnergyResult(values.kernel(1), Rejected(Reason.CRASHED, "signal 9"))
    for _ in range(STRIKES):
        filled.record_batch(values.platform, BatchRecord(wall_ms=1.0, energy=(crash,)))
    assert filled.quarantined(values.platform) == {}
    assert {r.detail for r in filled.rejections(values.platform)} == {"energy: signal 9"}


def test_the_digest_follows_energies(filled: Store, values: Any) -> None:
    digests = {filled.digest(values.platform)}
    for invokes in (10_000, 10_001):
        run = replace(RUN, invokes=invokes)
        filled.record_batch(values.platform, energy_batch(values.kernel(1), run=run))
        digests.add(filled.digest(values.platform))
    assert len(digests) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"run_uj": math.inf},
        {"run_ms": 0.0},
        {"invokes": 0},
        {"idle_before_mw": -1.0},
        {"error_uj": math.nan},
        {"meter": ""},
    ],
)
def test_the_schema_refuses_what_no_meter_tells(
    filled: Store, values: Any, change: dict[str, Any]
) -> None:
    before = filled.digest(values.platform)
    bad = replace(NULL, **change)
    for batch in (
        energy_batch(values.kernel(1), null=bad),
        energy_batch(values.kernel(1), run=replace(RUN, error_uj=math.inf)),
    ):
        with pytest.raises((TableError, ZeroDivisionError)):
            filled.record_batch(values.platform, batch)
    assert filled.digest(values.platform) == before
