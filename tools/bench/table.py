"""Speed of a table: prices from the cache, first look-ups, and recording a batch.

    python tools/bench/table.py

Prints kernels a second: the median and the 10th to 90th percentile over repeats.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from adapt.cost import TableLatency
from lookup_tables import (
    Accepted,
    BatchRecord,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Store,
    Tensor,
    Window,
)

ENTRIES = 20_000
BATCH = 64
# A network like MobileNetV2 has about 65 kernels; the loop prices thousands of networks.
NETWORK = 65
REPEATS = 30

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
WINDOWS = tuple(Window(200, 1, 2, 50.0, 50.5, 49.5, 50.0, 5.0 * n) for n in range(6))


def conv(number: int) -> Kernel:
    """A distinct convolution for each number, made anew at each call."""
    channels, units = divmod(number, 200)
    return Kernel.make(
        "CONV_2D",
        [
            Tensor("float32", (1, 32, 32, channels + 1)),
            Tensor("float32", (units + 1, 3, 3, channels + 1), constant=True),
            Tensor("float32", (units + 1,), constant=True),
        ],
        [Tensor("float32", (1, 32, 32, units + 1))],
        {"padding": "SAME", "stride_w": 1, "stride_h": 1, "fused_activation_function": "RELU"},
    )


def rate(name: str, kernels: int, action: Callable[[], object], repeats: int = REPEATS) -> None:
    """Time `action`, which handles so many kernels, and print its rate."""
    rates = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        action()
        rates.append(kernels / (time.perf_counter_ns() - start) * 1e9)
    low, *_, high = statistics.quantiles(rates, n=10)
    middle = statistics.median(rates)
    print(f"{name:<42} {middle:>12,.0f} kernels/s ({low:,.0f} to {high:,.0f})")


def main() -> None:
    """Measure and print."""
    kernels = [conv(number) for number in range(ENTRIES)]
    null = NullResult(WINDOWS, Accepted(0.5, 0.01, 6))
    results = [KernelResult(k, WINDOWS, Accepted(50.0, 0.001, 6), 1, 1) for k in kernels]
    batches = iter(
        BatchRecord(wall_ms=2000.0, null=null, kernels=tuple(results[at : at + BATCH]))
        for at in range(0, ENTRIES, BATCH)
    )
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "table.db") as store:
        rate(
            f"record a batch of {BATCH}, on disk",
            BATCH,
            lambda: store.record_batch(PLATFORM, next(batches)),
        )
        for batch in batches:
            store.record_batch(PLATFORM, batch)
        rate(
            f"first look-up of {ENTRIES:,} kernels",
            ENTRIES,
            lambda: store.entries(PLATFORM, kernels),
            repeats=5,
        )
        model = TableLatency(store, PLATFORM)
        model.price(kernels)
        network = [conv(number * 37) for number in range(NETWORK)]
        rate(f"price a network of {NETWORK} from the cache", NETWORK, lambda: model.price(network))
        rate(
            "the same, its kernels made anew",
            NETWORK,
            lambda: model.price([conv(number * 37) for number in range(NETWORK)]),
        )


if __name__ == "__main__":
    main()
