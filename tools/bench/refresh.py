"""What refreshing a table costs: on an unchanged machine, and after it has become slower.

    python tools/bench/refresh.py [--entries N] [--slower 1.2]

Builds a table of real kernels on this machine, refreshes it, and refreshes it again with workers
whose clocks run faster (tests/refresh/slow_worker.py). Prints how many entries each refresh
measured anew, how long it took and what it found.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from adapt.fleet.local import LocalDevice
from adapt.refresh import Night, measure_kernels, refresh_tables
from adapt.tflite.ops import make_kernel
from device_agent.launcher import PYTHON_VARIABLE
from lookup_tables import Kernel, Store, Tensor

SLOW_WORKER = Path(__file__).parents[2] / "tests" / "refresh" / "slow_worker.py"
WEEK_S = 7 * 86_400.0
HOUR_S = 3600.0
DTYPES = ("float32", "int8")


def convolution(chance: random.Random, dtype: str) -> Kernel:
    """As in the middle of a MobileNet, pointwise twice out of three times."""
    size, window = chance.choice([4, 7, 14, 28]), chance.choice([1, 1, 3])
    channels, units = chance.randint(8, 128), chance.randint(8, 128)
    return make_kernel(
        "CONV_2D",
        [
            Tensor(dtype, (1, size, size, channels)),
            Tensor(dtype, (units, window, window, channels), constant=True),
            Tensor("int32" if dtype == "int8" else dtype, (units,), constant=True),
        ],
        [Tensor(dtype, (1, size, size, units))],
        padding="SAME",
        stride_w=1,
        stride_h=1,
    )


def depthwise(chance: random.Random, dtype: str) -> Kernel:
    """3x3, with a stride of one or two."""
    size, stride = chance.choice([7, 14, 28, 56]), chance.choice([1, 2])
    channels = chance.randint(8, 256)
    out = -(-size // stride)
    return make_kernel(
        "DEPTHWISE_CONV_2D",
        [
            Tensor(dtype, (1, size, size, channels)),
            Tensor(dtype, (1, 3, 3, channels), constant=True),
            Tensor("int32" if dtype == "int8" else dtype, (channels,), constant=True),
        ],
        [Tensor(dtype, (1, out, out, channels))],
        padding="SAME",
        stride_w=stride,
        stride_h=stride,
        depth_multiplier=1,
    )


def dense(chance: random.Random, dtype: str) -> Kernel:
    """A classifier's last layer."""
    inputs, units = chance.randint(16, 1024), chance.randint(10, 512)
    return make_kernel(
        "FULLY_CONNECTED",
        [Tensor(dtype, (1, inputs)), Tensor(dtype, (units, inputs), constant=True), None],
        [Tensor(dtype, (1, units))],
    )


def addition(chance: random.Random, dtype: str) -> Kernel:
    """The end of a residual block."""
    size = chance.choice([7, 14, 28, 56])
    tensor = Tensor(dtype, (1, size, size, chance.randint(8, 128)))
    return make_kernel("ADD", [tensor, tensor], [tensor])


def softmax(chance: random.Random, dtype: str) -> Kernel:
    """Over so many classes."""
    tensor = Tensor(dtype, (1, chance.randint(2, 2000)))
    return make_kernel("SOFTMAX", [tensor], [tensor], beta=1.0)


def kernels(seed: int) -> Iterator[Kernel]:
    """Kernels without end, in the proportions of networks; some come more than once."""
    chance = random.Random(seed)
    shapes = [convolution] * 8 + [depthwise] * 5 + [dense] * 3 + [addition] * 3 + [softmax]
    while True:
        yield chance.choice(shapes)(chance, chance.choice(DTYPES))


def build(store: Store, entries: int) -> None:
    """Measure so many kernels of this machine."""
    chosen: dict[Kernel, None] = {}
    for kernel in kernels(seed=1):
        if len(chosen) == entries:
            break
        chosen[kernel] = None
    start = time.monotonic()
    with LocalDevice() as device:
        done = measure_kernels(store, device, chosen)
    seconds = time.monotonic() - start
    print(
        f"built {len(done.measured)} entries in {seconds:.0f} s,"
        f" {len(done.measured) / seconds:.1f} a second; {len(done.failed)} failed"
    )


def refresh(store: Store, what: str) -> None:
    """Refresh the table and print what came of it."""
    start = time.monotonic()
    with LocalDevice() as device:
        night = refresh_tables(store, device, max_age_s=WEEK_S, time_limit_s=HOUR_S)
    seconds = time.monotonic() - start
    for platform in night.platforms:
        share = platform.measured_anew / platform.entries
        print(
            f"{what}: {platform.measured_anew} of {platform.entries} entries measured anew"
            f" ({share:.1%}) in {seconds:.0f} s; {found(night)}"
        )


def found(night: Night) -> str:
    """Every drift, or that there is none."""
    drifts = [
        f"{platform.platform.key[:12]} drifted x{drift.ratio:.3f}"
        f" ({drift.op or 'all kernels'} {drift.dtype})".replace(" )", ")")
        for platform in night.platforms
        for drift in platform.drifts
    ]
    shifts = [f"x{p.shift.ratio:.3f}" for p in night.platforms if p.shift is not None]
    return ", ".join(drifts) or f"no drift, {', '.join(shifts)}"


def main() -> None:
    """Build, refresh and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=2000)
    parser.add_argument("--slower", type=float, default=1.2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "tables.db") as store:
        build(store, arguments.entries)
        refresh(store, "unchanged")
        refresh(store, "unchanged, the next time")
        worker = [sys.executable, str(SLOW_WORKER), str(arguments.slower)]
        os.environ[PYTHON_VARIABLE] = shlex.join(worker)
        refresh(store, f"workers {arguments.slower:g} times slower")
        refresh(store, "still so")


if __name__ == "__main__":
    main()
