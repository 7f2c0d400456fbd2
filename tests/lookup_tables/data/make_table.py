"""Writes the table file that stands for the current schema version: make_table.py FILE.

Run once when a schema version is released; the file is committed and never written again.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    Drift,
    EnergyResult,
    EnergyRun,
    Kernel,
    KernelResult,
    NetworkResult,
    NullResult,
    Platform,
    Reason,
    Rejected,
    Store,
    Tensor,
    Window,
)
from lookup_tables.exchange import Row, merge

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
WINDOWS = tuple(Window(100, 1, 2, us, us + 0.1, us - 0.1, us, us) for us in (10.0, 10.02))
# Small pages keep the committed file small.
PAGE_BYTES = 512


def kernel(units: int) -> Kernel:
    """A distinct kernel for each number."""
    return Kernel.make("RELU", [Tensor("float32", (units,))], [Tensor("float32", (units,))])


def fill(path: Path) -> None:
    """Make a table with something in each of its tables of rows."""
    with Store(path, clock=lambda: 1_700_000_000.0) as store:
        store.record_batch(
            PLATFORM,
            BatchRecord(
                wall_ms=12.0,
                before={"core_khz": [2400000]},
                after={"core_khz": [2300000]},
                facts={"agent_version": "0.1.0"},
                null=NullResult(WINDOWS, Accepted(0.5, 0.01, 2)),
                kernels=(
                    KernelResult(kernel(1), WINDOWS, Accepted(10.01, 0.002, 2), 1, 1),
                    KernelResult(kernel(2), WINDOWS, Accepted(20.5, 0.004, 2), 1, 0),
                    KernelResult(kernel(3), (), Rejected(Reason.CRASHED, "signal 11")),
                ),
                networks=(NetworkResult("a" * 64, WINDOWS, Accepted(271.0, 0.002, 2), 30, 30),),
            ),
        )
        moment = 1_690_000_000.0
        row = Row(PLATFORM, kernel(1), 9.75, 0.003, 0.5, moment, "colleague", 12.5, 0.02)
        merge(store, [row], now=1_700_000_001.0)
        store.record_batch(
            PLATFORM,
            BatchRecord(
                wall_ms=9.0,
                cold=(ColdResult(kernel(2), 9, WINDOWS, Accepted(25.0, 0.01, 2), 18, 18),),
            ),
        )
        store.record_batch(
            PLATFORM,
            BatchRecord(
                wall_ms=31_000.0,
                null_energy=EnergyRun("rapl", 9_000_000.0, 5_000.0, 1_000_000, 800.0, 820.0, 0.1),
                energy=(
                    EnergyResult(
                        kernel(2),
                        EnergyRun("rapl", 9_000_000.0, 5_000.0, 250_000, 800.0, 800.0, 0.4),
                    ),
                ),
            ),
        )
        store.record_fact(PLATFORM, "l2_bytes", 524_288.0, {"points": [[65_536, 7.5]]})
        store.record_uses(PLATFORM, [kernel(1), kernel(2)])
        store.record_uses(PLATFORM, [kernel(2)])
        store.record_drift(PLATFORM, Drift("RELU", "float32", 1.25, moment, {"noise": 0.05}))
    # One file without a write-ahead log beside it.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
