"""A table with known prices, and every cost model over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lookup_tables import (
    Accepted,
    BatchRecord,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Store,
    Tensor,
)

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
NULL_US = 0.5


def dense(units: int) -> Kernel:
    """8 * units MACs; the table says it takes units microseconds, if it has it."""
    inputs = [
        Tensor("float32", (1, 8)),
        Tensor("float32", (units, 8), constant=True),
        Tensor("float32", (units,), constant=True),
    ]
    return Kernel.make("FULLY_CONNECTED", inputs, [Tensor("float32", (1, units))])


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
def store(tmp_path: Path, known: list[Kernel]) -> Iterator[Store]:
    results = tuple(
        KernelResult(kernel, (), Accepted(us + NULL_US, 0.001, 2), nodes=1)
        for us, kernel in enumerate(known, start=1)
    )
    with Store(tmp_path / "table.db") as opened:
        null = NullResult((), Accepted(NULL_US, 0.01, 2))
        opened.record_batch(PLATFORM, BatchRecord(wall_ms=1.0, null=null, kernels=results))
        yield opened
