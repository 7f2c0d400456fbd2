"""How fast and how repeatably the local agent measures kernels.

    python tools/bench/agent.py [MODEL.tflite ...] [--agents 3] [--window-us 5000] [--target 0.005]

Takes the kernels of the models, or those of the bundled network at three widths, and measures them
all in one batch by each of several agents, one after the other. Prints a line an agent, then the
spread of each kernel's time between agents.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from adapt.fleet.device import MeasureOptions, ModelFile, Status
from adapt.fleet.local import LocalDevice
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


if __name__ == "__main__":
    main()
