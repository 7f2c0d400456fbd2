"""Learns how many bytes stay in the caches between two runs of a network, and what lies beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adapt.cost.cold import BEYOND_FACT, BEYOND_VECTOR_FACT, CACHE_FACT, L3_FACT, L3_PS_FACT
from adapt.cost.table import table_errors
from adapt.errors import DeviceError
from adapt.fleet.client import split
from adapt.fleet.device import Device, MeasureOptions, ModelFile, Outcome
from adapt.refresh.queue import MAX_ATTEMPTS
from adapt.refresh.session import Session
from adapt.tflite.copies import write_copies
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import weight_bytes
from lookup_tables.kernel import Kernel, Tensor
from lookup_tables.quality import Accepted
from lookup_tables.records import Fact
from lookup_tables.store import Store

__all__ = [
    "SWEEPS",
    "Knee",
    "Sweep",
    "find_knee",
    "learn_cache",
    "learn_memory",
    "pixels_kernel",
    "sweep",
    "sweep_kernel",
    "vector_kernel",
]

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

# Beyond the last cache: pieces of 1 MiB, up to more than phones and boards have; a server's may be
# larger.
_OUTER_INPUTS, _OUTER_OUTPUTS = 1024, 256
_OUTER_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 44)

# Models of so many bytes go together: host and agent each hold a message several times over.
_MESSAGE_BYTES = 64 << 20

# All cores share the memory behind the caches, so times there are less steady.
_OUTER_ERROR = 0.03

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

    What a byte takes above the knee becomes its L3_PS_FACT. Takes about
    three seconds. Raises DeviceError where the device fails or never settles.
    """
    session = Session.open(store, device, options or MeasureOptions())
    found = sweep(session, sweep_kernel(), _counts())
    knee = find_knee(found.points)
    evidence = found.evidence | vars(knee)
    with table_errors():
        store.record_fact(session.platform, L3_PS_FACT, knee.cold, evidence)
        return store.record_fact(session.platform, CACHE_FACT, knee.size, evidence)


def learn_memory(
    store: Store, device: Device, *, options: MeasureOptions | None = None
) -> dict[str, Fact]:
    """Sweep more weights than the last cache holds and store MEMORY_FACTS of the platform.

    Takes about ten seconds. Where nothing becomes slower, the cache is as large as what was swept
    and nothing lies beyond it. Raises as `learn_cache` does.
    """
    options = options or MeasureOptions()
    error = max(options.target_relative_error, _OUTER_ERROR)
    session = Session.open(store, device, replace(options, target_relative_error=error))
    often = sweep(session, pixels_kernel(), _OUTER_COUNTS)
    once = sweep(session, vector_kernel(), _OUTER_COUNTS)
    knee, other = find_knee(often.points), find_knee(once.points)
    facts = {
        L3_FACT: (knee.size, often, knee),
        BEYOND_FACT: (knee.cold - knee.hot, often, knee),
        BEYOND_VECTOR_FACT: (other.cold - other.hot, once, other),
    }
    with table_errors():
        return {
            name: store.record_fact(session.platform, name, value, found.evidence | vars(at))
            for name, (value, found, at) in facts.items()
        }


def pixels_kernel() -> Kernel:
    """A convolution of some pixels: what most weights of networks are used for."""
    operands = [
        Tensor("float32", (1, 4, 4, _OUTER_INPUTS)),
        Tensor("float32", (_OUTER_OUTPUTS, 1, 1, _OUTER_INPUTS), constant=True),
        Tensor("float32", (_OUTER_OUTPUTS,), constant=True),
    ]
    outputs = [Tensor("float32", (1, 4, 4, _OUTER_OUTPUTS))]
    return make_kernel("CONV_2D", operands, outputs, stride_w=1, stride_h=1)


def vector_kernel() -> Kernel:
    """A matrix times a vector with as many weights."""
    operands = [
        Tensor("float32", (1, _OUTER_INPUTS)),
        Tensor("float32", (_OUTER_OUTPUTS, _OUTER_INPUTS), constant=True),
        None,
    ]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor("float32", (1, _OUTER_OUTPUTS))])


@dataclass(frozen=True)
class Sweep:
    """Picoseconds a byte by bytes of weights, and the batches that say so."""

    points: Mapping[float, float]
    batches: Sequence[int]

    @property
    def evidence(self) -> dict[str, object]:
        """What to keep with the fact."""
        return {
            "batches": list(self.batches),
            "picoseconds_per_byte": [[size, self.points[size]] for size in sorted(self.points)],
        }


def sweep(session: Session, kernel: Kernel, counts: Sequence[int]) -> Sweep:
    """Time so many copies of `kernel` as `counts` say, 1 among them.

    Of SWEEPS sweeps the faster counts at each size. Raises DeviceError where fewer than half of
    the sizes give a steady time.
    """
    files = _files(session, kernel, counts)
    limits = session.description.limits
    limits = replace(limits, max_batch_bytes=min(limits.max_batch_bytes, _MESSAGE_BYTES))
    enough = max(1, min(_MIN_SIZES, len(files) // 2))
    points: dict[float, float] = {}
    batches: list[int] = []
    for number in range(SWEEPS + MAX_ATTEMPTS - 1):
        if number >= SWEEPS and len(points) >= max(enough, len(files) // 2):
            break
        outcomes: dict[str, Outcome] = {}
        for part in split(list(files.values()), limits):
            batch = session.measure(part)
            batches.append(session.record(batch).batch)
            outcomes |= batch.outcomes
        verdicts = {count: session.verdict(outcomes[file.id]) for count, file in files.items()}
        accepted = {c: v for c, v in verdicts.items() if isinstance(v, Accepted)}
        for size, rate in _points(kernel, accepted).items():
            points[size] = min(rate, points.get(size, rate))
    if len(points) < enough:
        raise DeviceError(
            f"the size of the cache of {session.device.name} could not be learnt: of {len(files)}"
            f" sizes only {len(points)} gave a steady time",
            "Quieten the device (other programs, charging, heat) and try again.",
        )
    return Sweep(points, batches)


def _counts() -> Sequence[int]:
    """Copies of the kernel to sweep, ascending; the first is 1."""
    largest = _LARGEST_SWEPT // weight_bytes(sweep_kernel())
    steps = round(math.log2(largest) * _SIZES_PER_OCTAVE)
    return sorted({round(2 ** (step / _SIZES_PER_OCTAVE)) for step in range(steps + 1)})


def _files(session: Session, kernel: Kernel, counts: Sequence[int]) -> dict[int, ModelFile]:
    """A model for each number of copies, as far as the device takes them in one batch."""
    places, room = session.room
    largest = session.description.limits.max_model_bytes
    files: dict[int, ModelFile] = {}
    for count in counts:
        content = write_copies(kernel, count)
        if len(files) == places or len(content) > min(room, largest):
            break
        room -= len(content)
        files[count] = ModelFile(f"sweep-{count}", content)
    return files


def _points(kernel: Kernel, accepted: Mapping[int, Accepted]) -> dict[float, float]:
    """Picoseconds a byte by bytes of weights, from times by number of copies, 1 among them."""
    if 1 not in accepted:
        return {}
    weights = weight_bytes(kernel)
    one = accepted[1].latency_us
    return {
        float(count * weights): (each.latency_us - one) * 1e6 / ((count - 1) * weights)
        for count, each in accepted.items()
        if count > 1
    }
