"""The whole path on this machine: a real agent, real kernels, a real table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.cost import TableLatency
from adapt.fleet.device import MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.refresh import measure_kernels, measure_networks
from adapt.tflite.writer import write_kernel
from lookup_tables import Kernel, Store, Tensor

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
