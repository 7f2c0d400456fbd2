"""Learns how many bytes of weights stay close to the core between two runs of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt.cost.cold import CACHE_FACT
from adapt.cost.table import table_errors
from adapt.errors import DeviceError
from adapt.fleet.device import Device, MeasureOptions, ModelFile
from adapt.refresh.queue import MAX_ATTEMPTS
from adapt.refresh.session import Session
from adapt.tflite.copies import write_copies
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import weight_bytes
from lookup_tables.kernel import Kernel, Tensor
from lookup_tables.quality import Accepted
from lookup_tables.records import Fact
from lookup_tables.store import Store

__all__ = ["SWEEPS", "Knee", "find_knee", "learn_cache", "sweep_kernel"]

# A matrix times a vector uses each weight once, so no other kernel shows the memory so clearly.
# 64 KiB of weights: as much as a first-level cache holds, so that two copies are beyond it.
_INPUTS, _OUTPUTS = 256, 64

# The largest second-level caches of CPUs for phones, boards and servers have 4 MiB for a core; on
# one that is larger the knee is not seen, and the largest size swept stands for it.
_LARGEST_SWEPT = 8 << 20

# Sizes swept for each doubling: the knee is interpolated between them.
_SIZES_PER_OCTAVE = 3

# A rise by this much above the fastest is no noise: windows agree within 2 %.
_ONSET = 1.10

# From the onset it takes about two doublings until all weights come from further away.
_SETTLED = 4.0

# A size that was disturbed is corrected by the two after it. Not by all: weights of many megabytes
# get larger memory pages and become faster again.
_NEIGHBOURS = 3

# Other processes take their part of the cache, never add to it: of each size the faster of two
# sweeps counts, in workers of their own.
SWEEPS = 2

# Fewer sizes than this cannot tell a knee from noise.
_MIN_SIZES = 6


@dataclass(frozen=True)
class Knee:
    """Where the time for each byte of weights rises.

    Attributes:
        size: bytes, half-way up; the largest size swept where there is no rise.
        hot, cold: picoseconds a byte below and above; equal where there is no rise.
    """

    size: float
    hot: float
    cold: float


def sweep_kernel() -> Kernel:
    """The kernel whose copies are timed."""
    operands = [
        Tensor("float32", (1, _INPUTS)),
        Tensor("float32", (_OUTPUTS, _INPUTS), constant=True),
        None,
    ]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor("float32", (1, _OUTPUTS))])


def find_knee(points: Mapping[float, float]) -> Knee:
    """The first rise of picoseconds a byte over bytes of weights; at least one point.

    Contention only slows down, so no size counts as slower than its larger neighbours. The knee
    is where half of the rise is done, interpolated over the logarithm of the size.
    """
    sizes = sorted(points)
    rates = [min(points[s] for s in sizes[at : at + _NEIGHBOURS]) for at in range(len(sizes))]
    hot = rates[0]
    onset = next((s for s, rate in zip(sizes, rates, strict=True) if rate > _ONSET * hot), None)
    if onset is None:
        return Knee(sizes[-1], hot, hot)
    cold = max(r for s, r in zip(sizes, rates, strict=True) if s <= _SETTLED * onset)
    half = (hot + cold) / 2
    above = next(at for at, rate in enumerate(rates) if rate >= half)
    below = above - 1
    share = (half - rates[below]) / (rates[above] - rates[below])
    size = math.exp((1 - share) * math.log(sizes[below]) + share * math.log(sizes[above]))
    return Knee(size, hot, cold)


def learn_cache(store: Store, device: Device, *, options: MeasureOptions | None = None) -> Fact:
    """Sweep the bytes of weights on `device` and store the knee as the platform's CACHE_FACT.

    Takes about three seconds. Raises DeviceError where the device fails or never settles.
    """
    session = Session.open(store, device, options or MeasureOptions())
    files = _files(session)
    points: dict[float, float] = {}
    batches: list[int] = []
    for number in range(SWEEPS + MAX_ATTEMPTS - 1):
        if number >= SWEEPS and len(points) >= max(_MIN_SIZES, len(files) // 2):
            break
        batch = session.measure(list(files.values()))
        batches.append(session.record(batch).batch)
        verdicts = {
            count: session.verdict(batch.outcomes[file.id]) for count, file in files.items()
        }
        accepted = {c: v for c, v in verdicts.items() if isinstance(v, Accepted)}
        for size, rate in _points(accepted).items():
            points[size] = min(rate, points.get(size, rate))
    if len(points) < _MIN_SIZES:
        raise DeviceError(
            f"the size of the cache of {device.name} could not be learnt: of {len(files)} sizes"
            f" only {len(points)} gave a steady time",
            "Quieten the device (other programs, charging, heat) and try again.",
        )
    knee = find_knee(points)
    evidence = {
        "batches": batches,
        "picoseconds_per_byte": [[size, points[size]] for size in sorted(points)],
        "hot": knee.hot,
        "cold": knee.cold,
    }
    with table_errors():
        return store.record_fact(session.platform, CACHE_FACT, knee.size, evidence)


def _counts() -> Sequence[int]:
    """Copies of the kernel to sweep, ascending; the first is 1."""
    largest = _LARGEST_SWEPT // weight_bytes(sweep_kernel())
    steps = round(math.log2(largest) * _SIZES_PER_OCTAVE)
    return sorted({round(2 ** (step / _SIZES_PER_OCTAVE)) for step in range(steps + 1)})


def _files(session: Session) -> dict[int, ModelFile]:
    """A model for each number of copies, as far as the device takes them in one batch."""
    places, room = session.room
    largest = session.description.limits.max_model_bytes
    files: dict[int, ModelFile] = {}
    for count in _counts():
        content = write_copies(sweep_kernel(), count)
        if len(files) == places or len(content) > min(room, largest):
            break
        room -= len(content)
        files[count] = ModelFile(f"sweep-{count}", content)
    return files


def _points(accepted: Mapping[int, Accepted]) -> dict[float, float]:
    """Picoseconds a byte by bytes of weights, from times by number of copies, 1 among them."""
    if 1 not in accepted:
        return {}
    weights = weight_bytes(sweep_kernel())
    one = accepted[1].latency_us
    return {
        float(count * weights): (each.latency_us - one) * 1e6 / ((count - 1) * weights)
        for count, each in accepted.items()
        if count > 1
    }
