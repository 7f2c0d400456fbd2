"""The size of the cache shows as a knee in the time for each byte of weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.cost import Missing
from adapt.cost.cold import (
    BEYOND_FACT,
    BEYOND_VECTOR_FACT,
    CACHE_FACT,
    L3_FACT,
    L3_PS_FACT,
    MEMORY_FACTS,
)
from adapt.errors import DeviceError
from adapt.fleet.device import Outcome, Status
from adapt.refresh import MAX_ATTEMPTS, learn_cache, learn_memory, measure_missing
from adapt.refresh.cache import SWEEPS, find_knee, pixels_kernel, sweep_kernel
from adapt.tflite.quantities import weight_bytes
from lookup_tables import Platform, Store

UNIT = weight_bytes(sweep_kernel())
SIZES = [round(UNIT * 2 ** (step / 3)) for step in range(3, 22)]
HOT, COLD = 7.5, 10.5

# What a CPU with 1 MiB of L2 gave: KiB of weights, picoseconds a byte.
SEEN = {
    128: 7.42, 192: 7.28, 320: 7.31, 384: 7.29, 512: 7.35, 704: 7.80, 896: 8.16, 1152: 9.01,
    1536: 9.57, 2048: 9.87, 2688: 10.26, 3584: 10.42, 4736: 9.38, 6208: 9.21, 8192: 9.35,
}  # fmt: skip


def swept(cache: float, noise: Callable[[], float] = lambda: 1.0) -> dict[float, float]:
    """A sweep over a cache that keeps less and less from 0.6 of its size to 1.4."""
    points = {}
    for size in SIZES:
        share = min(1.0, max(0.0, (size / cache - 0.6) / 0.8))
        points[float(size)] = (HOT + share * (COLD - HOT)) * noise()
    return points


@pytest.mark.parametrize("cache", [256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20])
def test_the_knee_is_the_size_of_the_cache(cache: int) -> None:
    knee = find_knee(swept(cache))
    assert knee.size == pytest.approx(cache, rel=0.1)
    assert (knee.hot, knee.cold) == (HOT, COLD)


@given(st.data())
def test_contention_hardly_moves_the_knee(data: st.DataObject) -> None:
    noise = st.sampled_from([1.0, 1.0, 1.0, 1.01, 1.02])
    knee = find_knee(swept(1 << 20, lambda: data.draw(noise)))
    assert knee.size == pytest.approx(1 << 20, rel=0.2)


def test_a_real_sweep() -> None:
    knee = find_knee({size * 1024.0: rate for size, rate in SEEN.items()})
    assert knee.size == pytest.approx(1 << 20, rel=0.15)
    assert knee.cold == 9.87


def test_without_a_rise_the_largest_size_stands() -> None:
    knee = find_knee(swept(1 << 30))
    assert (knee.size, knee.hot, knee.cold) == (SIZES[-1], HOT, HOT)
    assert find_knee({1000.0: 5.0}).size == 1000.0


def simulate(device: Any, cache: float) -> None:
    """Let the device answer the sweep like one with such a cache."""
    for count in range(1, 200):
        rate = HOT if count * UNIT < cache else COLD
        device.times_us[f"sweep-{count}"] = 1.0 + (count - 1) * UNIT * rate / 1e6


def test_it_is_stored_with_its_evidence(store: Store, device: Any, platform: Platform) -> None:
    simulate(device, 700 << 10)
    fact = learn_cache(store, device)
    assert fact.value == pytest.approx(700 << 10, rel=0.25)
    assert store.facts(platform)[CACHE_FACT] == fact
    assert store.facts(platform)[L3_PS_FACT].value == pytest.approx(COLD, rel=0.01)
    points = fact.evidence["picoseconds_per_byte"]
    assert isinstance(points, list)
    assert len(points) > 15
    assert fact.evidence["batches"] == [1, 2]
    assert fact.evidence["cold"] == pytest.approx(COLD, rel=0.01)


def test_sizes_are_bounded_by_what_the_device_takes(store: Store, device: Any) -> None:
    simulate(device, math.inf)
    device.limits = device.limits.__class__(256, 2 << 20, 4 << 20, 600_000, 1)
    fact = learn_cache(store, device)
    assert UNIT < fact.value < 2 << 20


def test_a_device_that_never_settles_is_an_error(
    store: Store, device: Any, platform: Platform, outcome: Callable[..., Outcome]
) -> None:
    for count in range(1, 200):
        bad = outcome(Status.NOT_CONVERGED, 1.0, 2.0)
        device.faults[f"sweep-{count}"] = [bad] * (SWEEPS + MAX_ATTEMPTS)
    with pytest.raises(DeviceError, match="could not be learnt"):
        learn_cache(store, device)
    assert len(device.batches) == SWEEPS + MAX_ATTEMPTS - 1
    assert store.facts(platform) == {}


def test_what_one_sweep_did_not_settle_the_next_does(
    store: Store, device: Any, outcome: Callable[..., Outcome]
) -> None:
    simulate(device, 1 << 20)
    device.faults["sweep-1"] = [outcome(Status.NOT_CONVERGED, 1.0, 2.0)] * SWEEPS
    fact = learn_cache(store, device)
    assert fact.evidence["batches"] == [1, 2, 3]


def test_of_two_sweeps_the_faster_counts_at_each_size(
    store: Store, device: Any, outcome: Callable[..., Outcome]
) -> None:
    simulate(device, 1 << 20)
    for count in (8, 10, 13):
        slow = 1.0 + (count - 1) * UNIT * COLD / 1e6
        device.faults[f"sweep-{count}"] = [outcome(Status.MEASURED, slow, slow)]
    assert learn_cache(store, device).value == pytest.approx(1 << 20, rel=0.25)


def test_a_missing_fact_is_learnt(store: Store, device: Any, platform: Platform) -> None:
    simulate(device, 1 << 20)
    assert measure_missing(store, device, Missing(facts=[CACHE_FACT])).batches == 0
    assert set(store.facts(platform)) == {CACHE_FACT, L3_PS_FACT}


def simulate_memory(device: Any, cache: float, beyond: float) -> None:
    """Let the device answer the sweeps of large weights like one with such a last cache."""
    unit = weight_bytes(pixels_kernel())
    for count in range(1, 100):
        # From half a cache of weights, of which all stay, to twice as many, of which none do.
        share = min(1.0, max(0.0, (1 - math.log2(cache / (count * unit))) / 2))
        device.times_us[f"sweep-{count}"] = 1.0 + (count - 1) * unit * (HOT + share * beyond) / 1e6


def test_what_lies_beyond_the_last_cache_is_learnt(
    store: Store, device: Any, platform: Platform
) -> None:
    simulate_memory(device, 8 << 20, 20.0)
    device.limits = device.limits.__class__(256, 64 << 20, 256 << 20, 600_000, 1)
    facts = learn_memory(store, device)
    assert store.facts(platform) == facts
    assert set(facts) == set(MEMORY_FACTS)
    assert facts[L3_FACT].value == pytest.approx(8 << 20, rel=0.25)
    assert facts[BEYOND_FACT].value == pytest.approx(20.0, rel=0.05)
    assert facts[BEYOND_VECTOR_FACT].value == pytest.approx(20.0, rel=0.05)
    # 152 MiB of models do not go together, so that host and agent need not hold them at once.
    assert len(facts[L3_FACT].evidence["batches"]) == 3 * SWEEPS


def test_a_device_that_takes_little_has_nothing_beyond(store: Store, device: Any) -> None:
    simulate_memory(device, math.inf, 20.0)
    device.limits = device.limits.__class__(256, 8 << 20, 16 << 20, 600_000, 1)
    facts = learn_memory(store, device)
    assert facts[BEYOND_FACT].value == pytest.approx(0, abs=1e-6)
    assert facts[L3_FACT].value <= 8 << 20


def test_missing_facts_of_the_memory_are_learnt_together(
    store: Store, device: Any, platform: Platform
) -> None:
    simulate_memory(device, 8 << 20, 20.0)
    measure_missing(store, device, Missing(facts=MEMORY_FACTS))
    assert set(store.facts(platform)) == set(MEMORY_FACTS)
