"""Night after night on a simulated device: what is measured anew, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapt.cost.cold import CACHE_FACT, copies
from adapt.errors import DeviceError
from adapt.fleet.device import EnergyOutcome, EnergyStatus, MeasureOptions, Meter, Outcome, Status
from adapt.refresh import (
    Night,
    PlatformNight,
    measure_cold,
    measure_energy,
    measure_kernels,
    refresh_tables,
)
from adapt.refresh.agenda import Cause
from adapt.refresh.nightly import CONFIRMATION_PAUSE_S
from adapt.refresh.sentinels import SENTINELS
from adapt.tflite.copies import slice_kernel
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import weight_bytes
from lookup_tables import Drift, Kernel, Platform, Store, Tensor

MakeOutcome = Callable[..., Outcome]
DAY = 86_400.0
BATCH_S = 5.0
OPS = ("LOGISTIC", "TANH", "RELU6")
KERNELS = [
    Kernel.make(op, [Tensor("float32", (1, n))], [Tensor("float32", (1, n))])
    for op in OPS
    for n in range(1, 101)
]

# Kernels whose weights leave the cache.
LAYERS = tuple(
    make_kernel(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 64)), Tensor("float32", (units, 64), True), None],
        [Tensor("float32", (1, units))],
    )
    for units in (64, 80, 96, 112)
)


class Nights:
    """A device, its table, and a clock that both go by."""

    def __init__(self, folder: Path, device: Any) -> None:
        self.now = 1_700_000_000.0
        self.device = device
        self.store = Store(folder / "table.db", clock=lambda: self.now)
        self.pauses: list[float] = []
        self.platform: Platform = device.platform("xnnpack", 1, 0)
        for number, kernel in enumerate(KERNELS):
            device.times_us[kernel.key] = 5.0 + number / 7
        self.measure(KERNELS)
        device.before_batch = lambda count: self.wait(BATCH_S)
        self.wait(DAY)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def measure(self, kernels: list[Kernel], **options: Any) -> None:
        measure_kernels(self.store, self.device, kernels, options=MeasureOptions(**options))
        self.device.batches.clear()

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.wait(seconds)

    def refresh(self, time_limit_s: float = 1800.0) -> Night:
        """One night, and what the device was asked for in it."""
        self.device.batches.clear()
        return refresh_tables(
            self.store,
            self.device,
            max_age_s=7 * DAY,
            time_limit_s=time_limit_s,
            clock=lambda: self.now,
            timer=lambda: self.now,
            sleep=self.pause,
        )

    def only(self, time_limit_s: float = 1800.0) -> PlatformNight:
        """The same, where there is one platform."""
        (night,) = self.refresh(time_limit_s).platforms
        return night

    @property
    def asked(self) -> list[str]:
        """Models of the last night, in order, without the null op."""
        return [name for batch in self.device.batches for name in batch if name != "null"]

    def times(self, platform: Platform | None = None) -> dict[Kernel, float]:
        entries = self.store.entries(platform or self.platform)
        return {kernel: round(entry.latency_us, 2) for kernel, entry in entries.items()}


@pytest.fixture
def nights(tmp_path: Path, device: Any) -> Iterator[Nights]:
    made = Nights(tmp_path, device)
    yield made
    made.store.close()


def slower(factor: float, op: str = "") -> Callable[[str, MeasureOptions], float]:
    """A device on which kernels of `op`, or all, take `factor` times as long."""
    touched = {kernel.key for kernel in KERNELS if op in ("", kernel.op)}
    return lambda name, options: factor if name in touched or not op else 1.0


def test_an_unchanged_device(nights: Nights) -> None:
    night = nights.only()
    assert night.fresh
    assert (night.sentinels, night.measured_anew, night.entries) == (SENTINELS, SENTINELS, 300)
    assert night.drifts == ()
    assert night.shift is not None
    assert night.shift.ratio == pytest.approx(1.0, abs=0.001)
    assert len(nights.device.batches) == 1
    assert nights.pauses == []
    first = set(nights.asked)
    nights.wait(DAY)
    assert nights.only().fresh
    assert not first & set(nights.asked)


def test_a_slower_device(nights: Nights) -> None:
    before = nights.times()
    nights.device.slowness = slower(1.2)
    night = nights.only()
    assert night.fresh
    (drift,) = night.drifts
    assert (drift.op, drift.ratio) == ("", pytest.approx(1.2, rel=0.001))
    assert night.measured_anew == 300
    assert night.measured == {Cause.DRIFTED: 300 - night.sentinels}
    after = nights.times()
    assert {k: us / before[k] for k, us in after.items()} == dict.fromkeys(
        before, pytest.approx(1.2, rel=0.01)
    )
    (known,) = nights.store.drifts(nights.platform)
    assert known == drift
    assert nights.pauses == [CONFIRMATION_PAUSE_S]
    nights.wait(DAY)
    assert nights.only().measured_anew == SENTINELS


def test_one_kind_that_became_slower(nights: Nights) -> None:
    nights.device.slowness = slower(1.5, "TANH")
    night = nights.only()
    assert [(drift.op, drift.dtype) for drift in night.drifts] == [("TANH", "float32")]
    measured = {kernel for kernel in KERNELS if kernel.key in nights.asked}
    assert {kernel for kernel in KERNELS if kernel.op == "TANH"} <= measured
    assert sum(kernel.op != "TANH" for kernel in measured) < SENTINELS
    assert night.fresh


def test_a_neighbour_that_is_busy_for_a_moment(nights: Nights) -> None:
    before = nights.times()
    nights.device.slowness = lambda *_: 1.0 if nights.pauses else 1.3
    night = nights.only()
    assert night.drifts == ()
    assert night.passing is not None
    assert night.passing[1].ratio == pytest.approx(1.3, rel=0.001)
    assert night.fresh
    assert night.measured == {}
    assert nights.store.drifts(nights.platform) == []
    assert nights.times() == before


def test_a_slow_creep_is_noticed(nights: Nights) -> None:
    """2 % a night: each night's sentinels are held against entries of the first day."""
    for number in range(1, 7):
        factor = 1.02**number
        nights.device.slowness = slower(factor)
        if nights.only().drifts:
            break
        nights.wait(DAY / 2)
    assert 1.02 < factor < 1.11


def test_killed_while_it_repairs(nights: Nights, vanished: DeviceError) -> None:
    nights.device.slowness = slower(1.2)
    victim = KERNELS[200]
    nights.device.faults[victim.key] = [vanished]
    with pytest.raises(DeviceError):
        nights.refresh()
    done = [
        k
        for k, e in nights.store.entries(nights.platform).items()
        if e.measured_at > nights.now - DAY
    ]
    assert SENTINELS < len(done) < 300
    nights.wait(DAY)
    night = nights.only()
    assert night.drifts == ()
    assert night.measured == {Cause.DRIFTED: 300 - len(done)}
    assert night.fresh
    assert len(nights.store.drifts(nights.platform)) == 1


def test_the_time_limit_comes_first(nights: Nights) -> None:
    used = KERNELS[250:290]
    nights.store.record_uses(nights.platform, used)
    nights.wait(7 * DAY)
    night = nights.only(time_limit_s=2.5 * BATCH_S)
    assert not night.fresh
    assert (night.left, night.measured[Cause.STALE]) == (300 - SENTINELS - 64, 64)
    repaired = nights.device.batches[1]
    assert {k.key for k in used} - set(nights.device.batches[0]) <= set(repaired[: len(used) + 1])
    assert nights.now - 1_700_000_000 < 8 * DAY + 2.5 * BATCH_S + 60
    second = nights.only()
    assert second.fresh
    assert second.measured == {Cause.STALE: night.left}


def test_no_time_to_look_again(nights: Nights) -> None:
    nights.device.slowness = slower(1.2)
    night = nights.only(time_limit_s=CONFIRMATION_PAUSE_S)
    assert night.undecided
    assert not night.fresh
    assert night.measured == {}
    assert nights.pauses == []


def test_a_kernel_that_cannot_be_measured(nights: Nights, outcome: MakeOutcome) -> None:
    nights.wait(7 * DAY)
    bad = KERNELS[7]
    nights.device.faults[bad.key] = [outcome(Status.NOT_CONVERGED, 10.0, 20.0)] * 99
    night = nights.only()
    assert set(night.failed) == {bad}
    assert (night.left, night.fresh) == (1, False)
    nights.device.faults[bad.key] = [outcome(Status.CRASHED, signal=11)] * 3
    assert nights.only().left == 1
    night = nights.only()
    assert (night.left, night.quarantined, night.fresh) == (0, 1, True)
    assert bad.key not in nights.asked


def test_sentinels_that_cannot_be_measured(nights: Nights, outcome: MakeOutcome) -> None:
    for kernel in KERNELS:
        nights.device.faults[kernel.key] = [outcome(Status.NOT_CONVERGED, 10.0, 20.0)] * 99
    night = nights.only()
    assert (night.undecided, night.fresh, night.shift) == (True, False, None)


def test_an_update_makes_a_new_platform(nights: Nights) -> None:
    old, before = nights.platform, nights.times()
    used = KERNELS[100:250]
    nights.store.record_uses(old, used)
    nights.store.record_uses(old, used[-3:])
    nights.device.identity = replace(nights.device.identity, runtime_build="beef")
    nights.device.slowness = slower(0.5)
    night = nights.only(time_limit_s=BATCH_S)
    new = nights.device.platform("xnnpack", 1, 0)
    assert (night.platform, night.predecessor, night.entries) == (new, old, 64)
    assert set(nights.asked[:3]) == {kernel.key for kernel in used[-3:]}
    assert not night.fresh
    nights.wait(DAY)
    assert nights.only().fresh
    assert set(nights.times(new)) == set(used)
    assert nights.times(old) == before
    nights.wait(DAY)
    assert nights.only().measured == {}


def test_every_platform_of_the_device(nights: Nights) -> None:
    nights.measure(KERNELS[:100], backend="builtin")
    builtin = nights.device.platform("builtin", 1, 0)
    nights.wait(DAY)
    nights.device.slowness = lambda name, options: 1.2 if options.backend == "builtin" else 1.0
    night = nights.refresh()
    by_platform = {each.platform: each for each in night.platforms}
    assert set(by_platform) == {nights.platform, builtin}
    assert by_platform[nights.platform].drifts == ()
    assert by_platform[builtin].drifts[0].ratio == pytest.approx(1.2, rel=0.001)
    assert nights.pauses == [CONFIRMATION_PAUSE_S]


def test_a_table_of_other_devices(nights: Nights) -> None:
    nights.device.identity = replace(nights.device.identity, soc="Other")
    night = nights.refresh()
    assert (night.platforms, night.unreachable, night.fresh) == ((), (), True)
    assert nights.device.batches == []


def test_noise_is_learnt_from_the_nights_before(nights: Nights) -> None:
    """On a device that is 8 % faster or slower every night, 10 % are no news."""
    for number in range(30):
        nights.device.slowness = slower(1.08 if number % 2 else 1.0)
        nights.measure(KERNELS[:64])
        nights.wait(DAY)
    nights.device.slowness = slower(1.0)
    nights.measure(KERNELS)
    nights.wait(DAY)
    nights.device.slowness = slower(1.1)
    night = nights.only()
    assert night.drifts == ()
    assert nights.pauses == []
    assert night.shift is not None
    assert night.shift.noise > 0.15


def test_a_drift_that_was_noticed_is_no_news(nights: Nights) -> None:
    """Entries from before are due, and say nothing of what the device does today."""
    since = nights.now
    nights.measure(KERNELS[:100])
    nights.store.record_drift(nights.platform, Drift("", "", 1.2, since, {}))
    nights.wait(DAY)
    night = nights.only()
    assert night.drifts == ()
    assert set(nights.device.batches[0]) - {"null"} <= {kernel.key for kernel in KERNELS[:100]}
    assert night.measured == {Cause.DRIFTED: 200}


@pytest.fixture
def cold_nights(nights: Nights) -> Nights:
    """Four layers have cold times as well; only they are in the table of `builtin`."""
    store, device = nights.store, nights.device
    options = MeasureOptions(backend="builtin")
    nights.platform = device.platform("builtin", 1, 0)
    store.record_fact(nights.platform, CACHE_FACT, 65_536.0, {})
    device.times_us[f"{slice_kernel('float32').key}.33"] = 2.1
    for kernel in LAYERS:
        count = copies(weight_bytes(kernel), 65_536.0)
        device.times_us[f"{kernel.key}.{count}"] = 0.5 + 12.0 * count
    measure_kernels(store, device, LAYERS, options=options)
    measure_cold(store, device, LAYERS, options=options)
    nights.wait(DAY)
    return nights


def night_of(night: Night, platform: Platform) -> PlatformNight:
    (found,) = (each for each in night.platforms if each.platform == platform)
    return found


def cold_times(nights: Nights, platform: Platform | None = None) -> list[float | None]:
    entries = nights.store.entries(platform or nights.platform, LAYERS)
    return [entry.cold_us and round(entry.cold_us, 1) for entry in entries.values()]


def test_cold_times_drift_too(cold_nights: Nights) -> None:
    nights = cold_nights
    assert cold_times(nights) == [pytest.approx(11.9, abs=0.1)] * 4
    nights.device.slowness = lambda name, options: 1.5
    night = night_of(nights.refresh(), nights.platform)
    assert (night.measured_anew, night.left) == (4, 0)
    assert cold_times(nights) == [pytest.approx(17.9, abs=0.1)] * 4


def test_a_successor_gets_cold_times_too(cold_nights: Nights) -> None:
    nights = cold_nights
    nights.device.identity = replace(nights.device.identity, runtime_build="beef")
    new = nights.device.platform("builtin", 1, 0)
    nights.store.record_fact(new, CACHE_FACT, 65_536.0, {})
    assert night_of(nights.refresh(), new).measured == {Cause.ABSENT: 4}
    assert cold_times(nights, new) == [pytest.approx(11.9, abs=0.1)] * 4


def test_a_successor_learns_the_facts_first(cold_nights: Nights) -> None:
    nights = cold_nights
    nights.device.identity = replace(nights.device.identity, runtime_build="beef")
    nights.refresh()
    assert CACHE_FACT in nights.store.facts(nights.device.platform("builtin", 1, 0))
    learnt = [n for n, name in enumerate(nights.asked) if name.startswith("sweep")]
    layers = {kernel.key for kernel in LAYERS}
    assert max(learnt) < min(n for n, name in enumerate(nights.asked) if name in layers)


def test_old_facts_are_learnt_anew(cold_nights: Nights, outcome: MakeOutcome) -> None:
    nights = cold_nights
    nights.wait(8 * DAY)
    for count in (1, 2, 4, 16, 128):
        nights.device.faults[f"sweep-{count}"] = [outcome(Status.NOT_CONVERGED, 1.0, 2.0)] * 99
    night = nights.refresh()
    old = nights.store.facts(nights.platform)[CACHE_FACT]
    each = night_of(night, nights.platform)
    assert (each.unlearnt, each.fresh, old.value) == ((CACHE_FACT,), False, 65_536.0)
    nights.device.faults.clear()
    assert nights.refresh().fresh
    assert nights.store.facts(nights.platform)[CACHE_FACT].learnt_at > old.learnt_at


METERED = KERNELS[:8]


@pytest.fixture
def old_energies(nights: Nights) -> Nights:
    """The energies of some kernels are out of date, and all times."""
    nights.device.meters = (Meter("rapl", "processor package-0"),)
    measure_energy(nights.store, nights.device, METERED)
    nights.wait(8 * DAY)
    return nights


def energies_since(nights: Nights, seconds: float) -> int:
    """Energies that were measured in the last `seconds`."""
    entries = nights.store.entries(nights.platform, METERED).values()
    assert all(entry.energy_uj for entry in entries)
    return sum((entry.energy_at or 0.0) > nights.now - seconds for entry in entries)


def test_old_energies_are_measured_anew_after_all_times(old_energies: Nights) -> None:
    nights = old_energies
    night = nights.only()
    assert (night.fresh, night.left, night.metering.measured) == (True, 0, len(METERED))
    assert energies_since(nights, DAY) == len(METERED)
    asked = [set(batch) for batch in nights.device.batches]
    metered = {kernel.key for kernel in METERED}
    assert set.union(*asked[-2:]) == metered | {"null"}
    nights.wait(DAY)
    assert nights.only().metering.measured == 0


def test_without_a_meter_energies_are_left_alone(old_energies: Nights) -> None:
    old_energies.device.meters = ()
    night = old_energies.only()
    assert (night.fresh, night.metering.alone, night.metering.left) == (True, len(METERED), 0)
    assert night.metering.why == "simulated has no energy meter that can be read"
    assert energies_since(old_energies, DAY) == 0


def test_energies_of_another_meter_are_left_alone(old_energies: Nights) -> None:
    old_energies.device.meters = (Meter("odpm", "rails"), Meter("rapl", "processor package-0"))
    metering = old_energies.only().metering
    assert (metering.measured, metering.alone) == (0, len(METERED))
    assert metering.why == "simulated measures by odpm, which did not tell them"


def test_a_charger_leaves_the_rest_alone(old_energies: Nights) -> None:
    charging = EnergyOutcome(EnergyStatus.CHARGING, "usb supplies power", None)
    old_energies.device.energies["null"] = [charging]
    night = old_energies.only()
    assert (night.fresh, night.metering.alone) == (True, len(METERED))
    assert "usb supplies power" in night.metering.why


def test_no_time_for_energies(old_energies: Nights) -> None:
    night = old_energies.only(time_limit_s=60)
    assert (night.left, night.fresh, night.metering.left) == (0, False, len(METERED))


def test_an_energy_that_is_never_steady_is_left(old_energies: Nights) -> None:
    unsteady = EnergyOutcome(EnergyStatus.UNSTEADY, "idle power moved", None)
    old_energies.device.energies[METERED[0].key] = [unsteady] * 99
    metering = old_energies.only().metering
    assert (metering.measured, metering.left) == (len(METERED) - 1, 1)
