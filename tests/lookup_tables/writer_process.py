"""Records batches into a table as fast as it can, saying on stdout what is committed.

Usage: writer_process.py FILE WRITER BATCHES. Each line is the number of a batch that
`record_batch` has returned. Every batch has one kernel that all writers measure and one of its own.
"""

from __future__ import annotations

import sys

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

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
SHARED, BROKEN = 1, 2
WINDOWS = (Window(100, 0, 1, 10.0, 10.1, 9.9, 10.0, 0.0),) * 14


def kernel(units: int) -> Kernel:
    """A distinct kernel for each number."""
    return Kernel.make("RELU", [Tensor("float32", (units,))], [Tensor("float32", (units,))])


def batch(writer: int, number: int) -> BatchRecord:
    """Batch `number` of `writer`."""
    own = 1000 * (writer + 1) + number
    good = Accepted(10.0 + number, 0.001, 2)
    return BatchRecord(
        wall_ms=1.0,
        facts={"writer": writer, "number": number},
        null=NullResult(WINDOWS, Accepted(0.5, 0.001, 2)),
        kernels=(
            KernelResult(kernel(SHARED), WINDOWS, good, nodes=1),
            KernelResult(kernel(own), WINDOWS, good, nodes=1),
            KernelResult(kernel(BROKEN), (), Rejected(Reason.CRASHED, "signal 11")),
        ),
    )


def main() -> None:
    path, writer, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with Store(path) as store:
        for number in range(batches):
            print(store.record_batch(PLATFORM, batch(writer, number)).batch, flush=True)


if __name__ == "__main__":
    main()
