"""A table with known prices, and every cost model over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from adapt.cost.fusion import PAIR_FACTS, Fusion
from adapt.tflite.pairs import pairs_of
from lookup_tables import (
    Accepted,
    BatchRecord,
    EnergyResult,
    EnergyRun,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Store,
    Tensor,
)

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
NULL_US = 0.5
METER = "rapl"
WATTS = 4.0


def dense(units: int) -> Kernel:
    """8 * units MACs; the table says it takes units microseconds, if it has it."""
    inputs = [
        Tensor("float32", (1, 8)),
        Tensor("float32", (units, 8), constant=True),
        Tensor("float32", (units,), constant=True),
    ]
    return Kernel.make("FULLY_CONNECTED", inputs, [Tensor("float32", (1, units))])


KnowPairs = Callable[[Store, Platform, list[Kernel]], None]


@pytest.fixture
def know_pairs() -> KnowPairs:
    """Lets a table know of all pairs of some kernels that they take as long as their parts."""

    def know(store: Store, platform: Platform, kernels: list[Kernel]) -> None:
        for pair in pairs_of(kernels):
            if pair is not None:
                store.record_fact(platform, PAIR_FACTS + pair.kind, Fusion.NONE, {})

    return know


@pytest.fixture
def platform() -> Platform:
    return PLATFORM


@pytest.fixture
def known() -> list[Kernel]:
    """Kernels of the table: 1 to 20 microseconds, the first 1, the second 2 and so on."""
    return [dense(units) for units in range(1, 21)]


@pytest.fixture
def unknown() -> list[Kernel]:
    """Kernels that the table lacks."""
    return [dense(units) for units in range(101, 105)]


@pytest.fixture
def store(tmp_path: Path, known: list[Kernel], know_pairs: KnowPairs) -> Iterator[Store]:
    results = tuple(
        KernelResult(kernel, (), Accepted(us + NULL_US, 0.001, 2), nodes=1)
        for us, kernel in enumerate(known, start=1)
    )
    with Store(tmp_path / "table.db") as opened:
        null = NullResult((), Accepted(NULL_US, 0.01, 2))
        opened.record_batch(PLATFORM, BatchRecord(wall_ms=1.0, null=null, kernels=results))
        know_pairs(opened, PLATFORM, [*known, *known[::-1]])
        yield opened


@pytest.fixture
def record_us() -> Callable[[Store, Platform, Mapping[Kernel, float]], None]:
    """Makes entries of kernels, microseconds each."""

    def record(store: Store, platform: Platform, times: Mapping[Kernel, float]) -> None:
        results = tuple(
            KernelResult(kernel, (), Accepted(us + NULL_US, 0.001, 2), nodes=1)
            for kernel, us in times.items()
        )
        null = NullResult((), Accepted(NULL_US, 0.01, 2))
        store.record_batch(platform, BatchRecord(wall_ms=1.0, null=null, kernels=results))

    return record


@pytest.fixture(scope="session")
def meter() -> Callable[..., None]:
    """Runs kernels of the table under a meter, at `watts` over their time there."""

    def run(us: float, watts: float, name: str) -> EnergyRun:
        # 500 mW idle.
        return EnergyRun(name, 500_000.0 + 1_000 * us * watts, 1_000.0, 1_000, 500.0, 500.0, 0.01)

    def measure(
        store: Store, kernels: Sequence[Kernel], watts: float = WATTS, name: str = METER
    ) -> None:
        entries = store.entries(PLATFORM, kernels)
        results = tuple(
            EnergyResult(kernel, run(entries[kernel].latency_us + NULL_US, watts, name))
            for kernel in kernels
        )
        null = run(NULL_US, watts, name)
        store.record_batch(PLATFORM, BatchRecord(1.0, energy=results, null_energy=null))

    return measure
