"""Small real values that the tests of the tables share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lookup_tables import (
    Accepted,
    BatchRecord,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Reason,
    Rejected,
    Store,
    Tensor,
    Window,
)

NULL_US = 0.5


class Values:
    """Builders of kernels, windows and batches with sensible defaults."""

    platform = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
    other_platform = Platform("Pixel 7", "Tensor G2", "T1", "litert", "2.3.0", "00ff", "xnnpack", 1)

    @staticmethod
    def kernel(units: int = 16) -> Kernel:
        tensors = [
            Tensor("float32", (1, 8)),
            Tensor("float32", (units, 8), constant=True),
            Tensor("float32", (units,), constant=True),
        ]
        output = Tensor("float32", (1, units))
        return Kernel.make("FULLY_CONNECTED", tensors, [output], {"activation": "RELU"})

    @staticmethod
    def window(us: float, start_ms: float = 0.0) -> Window:
        return Window(
            samples=200,
            preempted=1,
            invokes_per_sample=4,
            low_us=us,
            median_us=us * 1.01,
            min_us=us * 0.99,
            cpu_us=us,
            start_ms=start_ms,
        )

    def accepted(self, units: int, us: float, error: float = 0.001) -> KernelResult:
        return KernelResult(
            self.kernel(units), (self.window(us),) * 2, Accepted(us, error, 2), nodes=1, delegated=1
        )

    def rejected(self, units: int, reason: Reason, detail: str = "seen") -> KernelResult:
        return KernelResult(self.kernel(units), (), Rejected(reason, detail))

    def null(self, us: float = NULL_US, error: float = 0.01) -> NullResult:
        return NullResult((self.window(us),) * 2, Accepted(us, error, 2))

    def batch(self, *results: KernelResult, null: bool = True) -> BatchRecord:
        return BatchRecord(
            wall_ms=120.0,
            before={"core_khz": [2400000]},
            after={"core_khz": [2300000]},
            facts={"agent": "0.1.0"},
            null=self.null() if null else None,
            kernels=results,
        )


@pytest.fixture
def values() -> Values:
    return Values()


@pytest.fixture
def clock() -> Callable[[], float]:
    """A clock that moves on a second at every look."""
    moments = iter(range(1_700_000_000, 1_800_000_000))
    return lambda: float(next(moments))


@pytest.fixture
def store(tmp_path: Path, clock: Callable[[], float]) -> Iterator[Store]:
    with Store(tmp_path / "table.db", clock=clock) as opened:
        yield opened
