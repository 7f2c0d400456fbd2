"""How well the calibrated analytic model tells kernels that nobody measured, by a few that were.

    python tools/bench/fallback.py [--measured N] [--asked N] [--backend NAME] [--folder DIR]

Kernels of whole networks of Keras and of others, float32 and int8, drawn at random, are measured on
this machine. Then, over and over, some of them calibrate the model and the others are asked for.
Prints median errors by operator and type, beside those of a time in proportion to MACs at the best
factor for each type, which says nothing of kernels without MACs; and whether the stated errors and
the leave-one-out error hold. Files of networks stay in the folder if one is given.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.networks import whole

from adapt.cost.base import Missing
from adapt.cost.calibration import Calibration, class_of
from adapt.cost.table import open_table
from adapt.fleet.device import MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.refresh import measure_missing
from adapt.tflite.quantities import macs
from lookup_tables import Kernel

# Which kernels are measured is chance: so many draws are looked at.
DRAWS = 20

# Kernels that are measured beside those needed: some give no steady time on a busy machine.
SPARE = 40

Times = Mapping[Kernel, tuple[float, float]]


@dataclass
class Errors:
    """Absolute relative errors of kernels, of the model and in proportion to MACs."""

    model: list[float] = field(default_factory=list)
    by_macs: list[float] = field(default_factory=list)

    def add(self, model: float, by_macs: float) -> None:
        """One kernel more."""
        self.model.append(model)
        self.by_macs.append(by_macs)

    def __str__(self) -> str:
        model, by_macs = statistics.median(self.model), statistics.median(self.by_macs)
        return (
            f"{len(self.model):5} answers: median {model:6.1%},"
            f" in proportion to MACs {by_macs:7.1%} ({by_macs / model:.1f} times)"
        )


def measure(folder: Path, count: int, backend: str) -> Times:
    """Microseconds and relative errors of `count` kernels drawn from whole networks."""
    kernels = {kernel for case in whole(folder) for kernel in case.kernels}
    drawn = sorted(kernels, key=lambda kernel: kernel.key)
    random.Random(1).shuffle(drawn)
    options = MeasureOptions(backend=backend)
    with (
        tempfile.TemporaryDirectory() as tables,
        LocalDevice() as device,
        open_table(Path(tables) / "tables.db") as store,
    ):
        measure_missing(store, device, Missing(drawn[: count + SPARE]), options=options)
        platform = device.platform(backend, 1, 0)
        entries = store.entries(platform)
    print(f"{platform}: {len(entries)} kernels measured")
    known = [kernel for kernel in drawn if kernel in entries][:count]
    return {
        kernel: (entries[kernel].latency_us, entries[kernel].relative_error) for kernel in known
    }


def in_proportion(times: Times, asked: Sequence[Kernel]) -> dict[Kernel, float]:
    """Microseconds of `asked` at the median time of a MAC of `times`, each type of data its own."""
    rates: dict[str, list[float]] = defaultdict(list)
    for kernel, (us, _) in times.items():
        if count := macs(kernel):
            rates[kernel.dtype].append(us / count)
    everything = [rate for each in rates.values() for rate in each]
    return {
        kernel: macs(kernel) * statistics.median(rates.get(kernel.dtype) or everything)
        for kernel in asked
    }


def draw(times: Times, measured: int, seed: int) -> tuple[Times, list[Kernel]]:
    """`measured` of the kernels with their times, and all others."""
    kernels = list(times)
    random.Random(seed).shuffle(kernels)
    return {kernel: times[kernel] for kernel in kernels[:measured]}, kernels[measured:]


def report(times: Times, measured: int) -> None:
    """Print the errors of many draws."""
    classes: dict[str, Errors] = defaultdict(Errors)
    within, left_out, medians = [], [], []
    for seed in range(DRAWS):
        few, others = draw(times, measured, seed)
        calibration = Calibration(few)
        told, by_macs = calibration.estimates(others), in_proportion(few, others)
        mine = Errors()
        for kernel in others:
            us, _ = times[kernel]
            errors = abs(told[kernel].value / us - 1), abs(by_macs[kernel] / us - 1)
            mine.add(*errors)
            classes[" ".join(class_of(kernel))].add(*errors)
            classes["all"].add(*errors)
            if macs(kernel):
                classes["all with MACs"].add(*errors)
            within.append(errors[0] <= told[kernel].relative_error)
        left_out.append(calibration.error or 0.0)
        medians.append(statistics.median(mine.model))
    for name, found in sorted(classes.items(), key=lambda item: len(item[1].model)):
        print(f"{name:28} {found}")
    print(
        f"{measured} kernels measured, {len(times) - measured} others, {DRAWS} draws: median error"
        f" {min(medians):.1%} to {max(medians):.1%}; told by leaving one out"
        f" {statistics.mean(left_out):.1%}; within the stated error {statistics.mean(within):.1%}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measured", type=int, default=40, help="kernels that calibrate")
    parser.add_argument("--asked", type=int, default=200, help="other kernels")
    parser.add_argument("--backend", choices=("xnnpack", "builtin"), default="xnnpack")
    parser.add_argument("--folder", type=Path, default=None, help="keeps the networks' files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        times = measure(folder, options.measured + options.asked, options.backend)
    report(times, options.measured)


if __name__ == "__main__":
    main()
