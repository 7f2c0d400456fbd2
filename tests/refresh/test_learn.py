"""What can be learnt of a platform ahead of its first use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from adapt.cost.cold import CACHE_FACT, L3_PS_FACT, MEMORY_FACTS
from adapt.cost.fusion import PAIR_FACTS, Fusion
from adapt.errors import DeviceError
from adapt.fleet.device import Outcome, Status
from adapt.fleet.local import LocalDevice
from adapt.refresh.learn import NULL_FACT, learn_platform
from adapt.refresh.tiles import all_axes
from adapt.refresh.typical import TYPICAL_DTYPES, stepping_kernels, typical_kernels
from adapt.tflite.pairs import pairs_of, write_pair
from adapt.tflite.reader import read_kernels
from adapt.tflite.writer import write_kernel
from lookup_tables import Kernel, Platform, Store
from lookup_tables.families import Axis, member, resized
from lookup_tables.staircase import SWEEP
from lookup_tables.tiles import staircases


@pytest.mark.parametrize("dtype", TYPICAL_DTYPES)
def test_typical_kernels_can_be_written_alone_and_in_pairs(dtype: str) -> None:
    kernels = typical_kernels(dtype)
    assert {kernel.dtype for kernel in kernels} == {dtype}
    assert all(read_kernels(write_kernel(kernel)) == [kernel] for kernel in set(kernels))
    pairs = [pair for pair in pairs_of(kernels) if pair is not None]
    assert len(pairs) > 15
    assert all(read_kernels(write_pair(pair)) == [pair.first, pair.second] for pair in pairs)


@pytest.mark.parametrize("dtype", TYPICAL_DTYPES)
def test_stepping_kernels_can_be_written_at_every_count(dtype: str) -> None:
    kernels = stepping_kernels(dtype)
    assert {kernel.dtype for kernel in kernels} == {dtype}
    for kernel in kernels:
        place = member(kernel)
        assert place is not None
        for count in (SWEEP[0], SWEEP[-1]):
            swept = resized(kernel, [count] * len(place.channels))
            assert read_kernels(write_kernel(swept)) == [swept]


def test_everything_is_learnt_and_stored(
    store: Store, device: Any, platform: Platform, kernels: list[Kernel]
) -> None:
    stages: list[str] = []
    dense = stepping_kernels("int8")[-1]
    (units, _), out = member(dense).channels, Axis("FULLY_CONNECTED", "int8", "", "out")
    for count in SWEEP:
        device.times_us[resized(dense, (units, count)).key] = 1.0 + 0.05 * (-(-count // 16) * 16)
    facts = learn_platform(store, device, networks=[kernels], on_stage=stages.append)
    assert facts == store.facts(platform)
    assert {NULL_FACT, CACHE_FACT, L3_PS_FACT, *MEMORY_FACTS} <= set(facts)
    assert facts[NULL_FACT].value == pytest.approx(0.5, rel=0.001)
    kinds = {pair.kind for pair in pairs_of(typical_kernels("int8")) if pair is not None}
    assert {PAIR_FACTS + kind for kind in kinds} <= set(facts)
    assert set(kernels) <= set(store.entries(platform))
    steps = staircases(facts)
    assert set(steps) == set(all_axes(stepping_kernels("float32") + stepping_kernels("int8")))
    assert {axis.window for axis in steps} == {"", "1x1", "3x3", "5x5"}
    assert {axis: each.tile for axis, each in steps.items() if each.tile > 1} == {out: 16}
    assert stages[0] == "the call of the runtime"


def test_a_device_that_never_settles_is_an_error(
    store: Store, device: Any, platform: Platform, outcome: Any
) -> None:
    bad: Outcome = outcome(Status.NOT_CONVERGED, 1.0, 2.0)
    device.faults["null"] = [bad]
    with pytest.raises(DeviceError, match="a model that does nothing"):
        learn_platform(store, device)
    assert store.facts(platform) == {}


@pytest.mark.skipif(os.environ.get("ADAPT_LONG") != "1", reason="ADAPT_LONG=1 runs it")
def test_this_machine(tmp_path: Path) -> None:
    with LocalDevice() as device, Store(tmp_path / "table.db") as store:
        facts = learn_platform(store, device)
    assert 0 < facts[NULL_FACT].value < 100
    assert all(facts[name].value >= 0 for name in MEMORY_FACTS)
    found = {name: fact.value for name, fact in facts.items() if name.startswith(PAIR_FACTS)}
    assert all(value in list(Fusion) for value in found.values())
