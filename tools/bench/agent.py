"""How fast and how repeatably the local agent measures kernels.

    python tools/bench/agent.py [MODEL.tflite ...] [--agents 3] [--window-us 3000] [--target 0.01]

Takes the kernels of the models, or those of the bundled network at three widths, and measures them
all in one batch by each of several agents, one after the other. Prints a line an agent, then the
spread of each kernel's time between agents. Last, an empty table is filled with those kernels
whose weights may have left the cache, with warm caches and with cold ones: entries a second,
storing them included.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from adapt.cost.cold import turns_cold
from adapt.cost.table import open_table
from adapt.fleet.device import MeasureOptions, ModelFile, Status
from adapt.fleet.local import LocalDevice
from adapt.refresh import learn_cache, measure_cold, measure_kernels
from adapt.tflite.quantities import weight_bytes
from adapt.tflite.reader import read_kernels
from adapt.tflite.writer import null_kernel, write_kernel
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Accepted, judge


def measure(models: Sequence[ModelFile], options: MeasureOptions) -> dict[str, float]:
    """Accepted latencies by id, microseconds, from a fresh agent."""
    with LocalDevice() as device:
        begin = time.perf_counter()
        batch = device.measure(models, options)
        wall = time.perf_counter() - begin
    target = options.target_relative_error
    accepted = {}
    for name, outcome in batch.outcomes.items():
        verdict = judge(outcome.windows, target_relative_error=target)
        if isinstance(verdict, Accepted):
            accepted[name] = verdict.latency_us
    settled = sum(o.status is Status.MEASURED for o in batch.outcomes.values())
    windows = [len(o.windows) for o in batch.outcomes.values()]
    print(
        f"{len(models)} kernels in {wall:.2f} s: {len(models) / wall:.1f}/s; {settled} settled,"
        f" {len(accepted)} accepted; {statistics.mean(windows):.1f} windows a kernel"
    )
    return accepted


def fill_table(kernels: Sequence[Kernel], options: MeasureOptions) -> None:
    """Measure the hot and cold times of `kernels` into an empty table, and print how fast."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalDevice() as device,
        open_table(Path(folder) / "tables.db") as store,
    ):
        cache = learn_cache(store, device).value
        weighted = [kernel for kernel in kernels if turns_cold(weight_bytes(kernel), cache)]
        begin = time.perf_counter()
        hot = measure_kernels(store, device, weighted, options=options).measured
        between = time.perf_counter()
        cold = measure_cold(store, device, weighted, options=options).measured
        end = time.perf_counter()
    print(
        f"empty table: {len(hot)} hot entries at {len(hot) / (between - begin):.1f}/s,"
        f" {len(cold)} cold times at {len(cold) / (end - between):.1f}/s,"
        f" {len(cold) / (end - begin):.1f} entries/s with both"
    )


def bundled_kernels() -> list[Kernel]:
    """The kernels of the bundled network at its full, three quarters and half widths."""
    from adapt.telemetry import import_tensorflow

    import_tensorflow()
    from adapt.demo import MODEL
    from adapt.network.load import load_network

    network = load_network(MODEL)
    versions = (
        {name: round(width * share) for name, width in network.widths.items()}
        for share in (1.0, 0.75, 0.5)
    )
    return [kernel for widths in versions for kernel in network.kernels(widths)]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--agents", type=int, default=3)
    defaults = MeasureOptions()
    parser.add_argument("--window-us", type=int, default=defaults.window_us)
    parser.add_argument("--target", type=float, default=defaults.target_relative_error)
    arguments = parser.parse_args()
    options = MeasureOptions(window_us=arguments.window_us, target_relative_error=arguments.target)
    taken = [kernel for path in arguments.models for kernel in read_kernels(path.read_bytes())]
    taken = [null_kernel(), *(taken if arguments.models else bundled_kernels())]
    kernels = {kernel.key: kernel for kernel in taken}
    models = [ModelFile(key, write_kernel(kernel)) for key, kernel in kernels.items()]
    runs = [measure(models, options) for _ in range(arguments.agents)]
    common = set.intersection(*(set(run) for run in runs))
    spreads = [max(run[k] for run in runs) / min(run[k] for run in runs) - 1 for k in common]
    spreads.sort()
    print(
        f"spread between {len(runs)} agents over {len(common)} kernels: median"
        f" {statistics.median(spreads):.2%}, p95 {spreads[int(0.95 * (len(spreads) - 1))]:.2%},"
        f" largest {spreads[-1]:.2%}; null op {runs[0].get(null_kernel().key, 0):.2f} us"
    )
    fill_table(list(kernels.values()), options)


if __name__ == "__main__":
    main()
