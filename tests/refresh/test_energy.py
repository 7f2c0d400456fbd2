"""Entries get their energies, whatever the device and its meter do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapt.cost import Missing, Origin, TableEnergy, TableLatency
from adapt.errors import DeviceError
from adapt.fleet.device import EnergyOutcome, EnergyStatus, MeasureOptions, Meter, Outcome, Status
from adapt.refresh import (
    ENERGY_MS,
    MAX_ATTEMPTS,
    MAX_FAULTS,
    measure_energy,
    measure_kernels,
    measure_missing,
)
from lookup_tables import EnergyRun, Kernel, Platform, Reason, Store
from lookup_tables.exchange import Row, merge
from lookup_tables.power import SAMPLES

MakeOutcome = Callable[..., Outcome]
WATTS, NULL_US = 4.0, 0.5
KERNEL_UJ = WATTS * (10.0 - NULL_US)


def lost(status: EnergyStatus, detail: str = "seen") -> EnergyOutcome:
    return EnergyOutcome(status, detail, None)


@pytest.fixture
def metered(store: Store, device: Any, kernels: list[Kernel]) -> Any:
    """A device with a meter, which has timed all kernels already."""
    device.meters = (Meter("rapl", "processor package-0"), Meter("battery BAT0", "whole device"))
    measure_kernels(store, device, kernels)
    device.batches.clear()
    device.options.clear()
    return device


def test_energies_join_the_entries(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    before = store.entries(platform)
    done = measure_energy(store, metered, kernels)
    assert {k: e.energy_uj for k, e in done.measured.items()} == dict.fromkeys(
        kernels, pytest.approx(KERNEL_UJ)
    )
    after = store.entries(platform)
    assert {k: (e.latency_us, e.batch) for k, e in after.items()} == {
        k: (e.latency_us, e.batch) for k, e in before.items()
    }
    assert {e.energy_meter for e in after.values()} == {"rapl"}
    assert [len(batch) for batch in metered.batches] == [7, 5]
    assert all(batch[0] == "null" for batch in metered.batches)
    (options,) = set(metered.options)
    assert options.energy_ms == ENERGY_MS
    # Every model of a full batch, with rests and settling, has its time.
    assert options.time_limit_ms >= 7 * (2 * ENERGY_MS + 9_000)


def test_shorter_runs_on_request_within_the_devices_limits(
    store: Store, metered: Any, kernels: list[Kernel]
) -> None:
    metered.limits = metered.limits.__class__(256, 1 << 20, 1 << 21, 60_000, 1)
    measure_energy(store, metered, kernels[:1], options=MeasureOptions(energy_ms=700))
    assert [(o.energy_ms, o.time_limit_ms) for o in metered.options] == [(700, 60_000)]


def test_nothing_to_do_asks_nobody(store: Store, metered: Any) -> None:
    assert measure_energy(store, metered, []).batches == 0
    assert metered.batches == []


def test_a_device_without_a_meter_is_an_error(
    store: Store, device: Any, kernels: list[Kernel]
) -> None:
    with pytest.raises(DeviceError, match="simulated has no energy meter") as caught:
        measure_energy(store, device, kernels)
    assert "root" in caught.value.todo
    assert device.batches == []


def test_a_charger_is_an_error_and_what_was_measured_before_it_stays(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    metered.energies[kernels[2].key] = [lost(EnergyStatus.CHARGING, "usb supplies power")]
    with pytest.raises(DeviceError, match="cannot be used now: usb supplies power") as caught:
        measure_energy(store, metered, kernels)
    assert "Unplug" in caught.value.todo
    assert len(store.metered(platform, "rapl")) == 5
    assert len(metered.batches) == 1


@pytest.mark.parametrize("status", [EnergyStatus.UNSTEADY, EnergyStatus.NO_READING])
def test_a_kernel_that_keeps_failing_is_given_up(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel], status: EnergyStatus
) -> None:
    metered.energies[kernels[0].key] = [lost(status)] * MAX_ATTEMPTS
    done = measure_energy(store, metered, kernels[:3])
    assert set(done.measured) == set(kernels[1:3])
    assert done.failed[kernels[0]].reason is Reason.UNSTEADY
    assert [r.detail for r in store.rejections(platform)] == [
        f"energy: {status}: seen"
    ] * MAX_ATTEMPTS


def test_noise_is_tried_again(store: Store, metered: Any, kernels: list[Kernel]) -> None:
    noisy = EnergyRun("rapl", 600_000.0, 1_000.0, 1_000, 450.0, 550.0, 60.0)
    metered.energies[kernels[0].key] = [EnergyOutcome(EnergyStatus.MEASURED, "", noisy)]
    done = measure_energy(store, metered, kernels[:1])
    assert (done.batches, set(done.measured)) == (2, {kernels[0]})


def test_a_crash_under_the_meter_is_the_kernels(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    metered.faults[kernels[0].key] = [outcome(Status.CRASHED, signal=11)] * MAX_FAULTS
    done = measure_energy(store, metered, kernels[:2])
    assert done.failed[kernels[0]].reason is Reason.CRASHED
    assert store.quarantined(platform) == {}


def test_kernels_whose_turn_did_not_come_wait(
    store: Store, metered: Any, kernels: list[Kernel]
) -> None:
    metered.energies[kernels[1].key] = [lost(EnergyStatus.NOT_STARTED)]
    done = measure_energy(store, metered, kernels[:3])
    assert (done.batches, set(done.measured)) == (2, set(kernels[:3]))


def test_without_the_null_op_the_batch_is_measured_again(
    store: Store, metered: Any, kernels: list[Kernel]
) -> None:
    metered.energies["null"] = [lost(EnergyStatus.UNSTEADY)]
    done = measure_energy(store, metered, kernels[:3])
    assert (done.batches, set(done.measured)) == (2, set(kernels[:3]))


def test_few_samples_of_a_kind_price_all_of_it(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    """Kernels unknown to the table are timed first, then a few of them run under the meter."""
    rounds = []
    strangers = [Kernel.make("TANH", kernel.inputs, kernel.outputs) for kernel in kernels]
    network = [*kernels, *strangers]
    while True:
        try:
            cost = TableEnergy(store, TableLatency(store, platform), "rapl").price(network)
            break
        except Missing as lack:
            rounds.append((len(lack.kernels), len(lack.energy)))
            done = measure_missing(store, metered, lack)
            assert not done.failed
            assert not done.unmetered
    assert rounds == [(10, 0), (0, 2 * SAMPLES)]
    assert cost["energy"].value == pytest.approx(20 * KERNEL_UJ + WATTS * NULL_US)
    assert cost["energy"].by_origin == {
        Origin.MEASURED: pytest.approx(8 * KERNEL_UJ + WATTS * NULL_US),
        Origin.INTERPOLATED: pytest.approx(12 * KERNEL_UJ),
    }


def test_what_only_an_import_knows_is_timed_first(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    stranger = Kernel.make("TANH", kernels[0].inputs, kernels[0].outputs)
    merge(store, [Row(platform, stranger, 9.0, 0.01, 0.5, 1.0, source="colleague")], now=2.0)
    done = measure_missing(store, metered, Missing(energy=[stranger]))
    assert set(done.measured) == {stranger}
    assert store.entries(platform)[stranger].source == ""
    assert store.entries(platform)[stranger].energy_uj == pytest.approx(KERNEL_UJ)


def test_energies_that_cannot_be_had_are_told_apart(
    store: Store, metered: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    metered.energies[kernels[0].key] = [lost(EnergyStatus.UNSTEADY)] * MAX_ATTEMPTS
    done = measure_missing(store, metered, Missing(energy=kernels[:2]))
    assert (set(done.unmetered), done.failed) == ({kernels[0]}, {})
    assert TableLatency(store, platform).price(kernels)["latency"].value > 0
