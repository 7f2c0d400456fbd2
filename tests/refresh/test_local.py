"""The whole path on this machine: a real agent, real kernels, a real table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapt.cost import Missing, Origin, TableEnergy, TableLatency
from adapt.cost.cold import CACHE_FACT
from adapt.fleet.device import MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.refresh import learn_cache, measure_kernels, measure_missing, measure_networks
from adapt.refresh.pairs import learn_pairs
from adapt.tflite.ops import make_kernel
from adapt.tflite.pairs import pairs_of
from adapt.tflite.writer import write_kernel
from lookup_tables import Kernel, Store, Tensor
from lookup_tables.checks import verify

# A loose target and few windows: what is tested is the path, on a machine that may be busy.
OPTIONS = MeasureOptions(target_relative_error=0.3, max_windows=6, window_us=1000)


@pytest.fixture
def local() -> Iterator[LocalDevice]:
    with LocalDevice() as device:
        yield device


def test_kernels_and_networks_of_this_machine(local: LocalDevice, tmp_path: Path) -> None:
    kernels = [
        Kernel.make(op, [Tensor("float32", (1, n))], [Tensor("float32", (1, n))])
        for op in ("LOGISTIC", "TANH")
        for n in (64, 4096)
    ]
    broken = Kernel.make("LOGISTIC", [Tensor("bool", (1, 4))], [Tensor("bool", (1, 4))])
    with Store(tmp_path / "table.db") as store:
        done = measure_kernels(store, local, [*kernels, broken], options=OPTIONS)
        assert set(done.measured) == set(kernels)
        assert set(done.failed) == {broken}
        platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
        assert store.platforms() == [platform]
        assert set(store.quarantined(platform)) == {broken}
        cost = TableLatency(store, platform).price(kernels)
        assert cost["latency"].value > 0
        small, large = measure_networks(
            store, local, [write_kernel(kernels[0]), write_kernel(kernels[1])], options=OPTIONS
        )
        assert min(small.latency_us, large.latency_us) > 0
        assert 2 <= small.runs + large.runs == store.counts(platform).networks


def dense(units: int, dtype: str) -> Kernel:
    operands = [Tensor(dtype, (1, 256)), Tensor(dtype, (units, 256), constant=True), None]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor(dtype, (1, units))])


def test_cold_times_of_this_machine(local: LocalDevice, tmp_path: Path) -> None:
    kernels = [dense(units, dtype) for dtype in ("float32", "int8") for units in (256, 512)]
    with Store(tmp_path / "table.db") as store:
        platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
        # A cache that these kernels exceed together, whatever this machine has.
        store.record_fact(platform, CACHE_FACT, 512 << 10, {})
        model = TableLatency(store, platform)
        asked = []
        while True:
            try:
                cost = model.price(kernels)
                break
            except Missing as lack:
                asked.append((set(lack.kernels), set(lack.cold)))
                measure_missing(store, local, lack, options=OPTIONS)
                if len(asked) > 5:
                    raise
        assert asked == [(set(kernels), set(kernels))]
        entries = store.entries(platform)
        assert all((entries[kernel].cold_us or 0) > 0 for kernel in kernels)
        assert cost["latency"].value >= sum(entries[kernel].latency_us for kernel in kernels)


def test_the_cache_of_this_machine(local: LocalDevice, tmp_path: Path) -> None:
    with Store(tmp_path / "table.db") as store:
        fact = learn_cache(store, local, options=OPTIONS)
        platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
        assert store.facts(platform)[CACHE_FACT] == fact
        assert 64 << 10 <= fact.value <= 8 << 20
        points = fact.evidence["picoseconds_per_byte"]
        assert isinstance(points, list)
        assert all(rate > 0 for _, rate in points)


def test_pairs_on_this_machine(local: LocalDevice, tmp_path: Path) -> None:
    x = Tensor("int8", (1, 16, 16, 64))
    swish = [make_kernel("LOGISTIC", [x], [x]), make_kernel("MUL", [x, x], [x])]
    pairs = [pair for pair in pairs_of(swish) if pair is not None]
    with Store(tmp_path / "table.db") as store:
        (fact,) = learn_pairs(store, local, pairs, options=OPTIONS).values()
    times = fact.evidence["first_second_both_us"]
    assert isinstance(times, list)
    # Whatever the runtime leaves out, it does one of the two.
    assert all(both > 0.5 * min(first, second) > 0 for first, second, both in times)


def conv(window: int) -> Kernel:
    """Long beside the null op, though its tensors are small."""
    features, bias = Tensor("float32", (1, 16, 16, 8)), Tensor("float32", (8,), constant=True)
    weights = Tensor("float32", (8, window, window, 8), constant=True)
    operands = [features, weights, bias]
    return make_kernel("CONV_2D", operands, [features], padding="SAME", stride_h=1, stride_w=1)


def test_kernels_run_under_the_meter_of_this_machine(tmp_path: Path, metered: Any) -> None:
    """The meter is a file tree, which counts what the real worker really uses."""
    kernels = [conv(window) for window in (3, 5)]
    options = replace(OPTIONS, energy_ms=500)
    with (
        LocalDevice(arguments=("--power-root", str(metered.root))) as device,
        Store(tmp_path / "table.db") as store,
    ):
        metered.agent = device.pid
        lack = Missing(kernels, energy=kernels)
        # On a busy machine an attempt may be rejected; it is repeated.
        done = measure_missing(store, device, lack, options=options)
        assert not done.failed
        assert not done.unmetered
        platform = device.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
        entries = store.entries(platform)
        for kernel in kernels:
            entry = entries[kernel]
            assert entry.energy_meter == "rapl"
            # uJ, were it alone on its core; less where others take part of it. Time and energy
            # are of different moments.
            most = metered.CORE_MW / 1e3 * entry.latency_us
            assert 0.2 * most < (entry.energy_uj or 0.0) < 2.5 * most
        assert verify(store) == []
        with pytest.raises(Missing) as asked:
            TableEnergy(store, TableLatency(store, platform), "rapl").price(
                [Kernel.make("TANH", kernels[0].outputs, kernels[0].outputs)]
            )
        assert len(asked.value.kernels) == 1
        for kernel in kernels:
            cost = TableEnergy(store, TableLatency(store, platform), "rapl").price([kernel])
            assert set(cost["energy"].by_origin) == {Origin.MEASURED}
