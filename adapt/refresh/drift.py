"""Whether a platform is slower or faster than its table says, from a few kernels timed anew. Pure.

What counts is the median of new time by old, over kinds of kernels, so that one stray kernel or one
kind with many sentinels decides nothing. It must exceed what chance explains, in two rounds at
different moments: a neighbour that is busy for a minute must not cost thousands of measurements.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from adapt.refresh.noise import Noise
from adapt.refresh.sentinels import Kind, kind_of
from lookup_tables.kernel import Kernel
from lookup_tables.records import Entry

__all__ = ["LEAST_DRIFT", "Pair", "Round", "Shift", "confirmed", "judge_round"]

# An accepted measurement may state an error as large as this: a smaller shift is none.
LEAST_DRIFT = 0.02

# Chance exceeds three standard deviations once in 370 nights.
_DEVIATIONS = 3.0

# Standard error of a median of normal values, beside that of their mean.
_MEDIAN_PENALTY = math.sqrt(math.pi / 2)

# Of a normal distribution: standard deviation by median absolute deviation.
_DEVIATION_BY_MEDIAN = 1.4826


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentinel: what the table said of it, and what it took just now."""

    kernel: Kernel
    before: Entry
    now: Entry

    @property
    def change(self) -> float:
        """Logarithm of new time by old."""
        return math.log(self.now.latency_us / self.before.latency_us)


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much several kernels have changed together.

    Attributes:
        ratio: of new time by old.
        noise: up to `exp(noise)` and down to `exp(-noise)` the ratio is nothing but chance.
        sentinels: kernels that it rests on.
    """

    ratio: float
    noise: float
    sentinels: int

    @property
    def change(self) -> float:
        """Logarithm of the ratio: 0 where nothing has changed."""
        return math.log(self.ratio)

    @property
    def beyond_noise(self) -> bool:
        """Whether chance does not explain it."""
        return abs(self.change) > self.noise


@dataclass(frozen=True)
class Round:
    """What the sentinels said at one moment: of all kernels together, and of each kind."""

    whole: Shift
    kinds: Mapping[Kind, Shift]

    @property
    def suspects(self) -> list[Kind]:
        """Kinds that moved beyond noise."""
        return [kind for kind, shift in self.kinds.items() if shift.beyond_noise]

    @property
    def quiet(self) -> bool:
        """Whether nothing moved beyond noise."""
        return not self.whole.beyond_noise and not self.suspects


def judge_round(pairs: Iterable[Pair], noise: Noise) -> Round | None:
    """What `pairs` of one moment say; None where there are none."""
    by_kind: dict[Kind, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_kind[kind_of(pair.kernel)].append(pair)
    if not by_kind:
        return None
    kinds = {
        kind: _shift(own, noise, [pair.change for pair in own])
        for kind, own in sorted(by_kind.items())
    }
    everyone = [pair for own in by_kind.values() for pair in own]
    return Round(_shift(everyone, noise, [shift.change for shift in kinds.values()]), kinds)


def confirmed(first: Round, second: Round) -> dict[Kind | None, Shift]:
    """The drift that both rounds show, the smaller of its two values; None stands for all kinds."""
    whole = _common(first.whole, second.whole)
    if whole is not None:
        return {None: whole}
    drifts: dict[Kind | None, Shift] = {}
    for kind in first.kinds:
        if kind in second.kinds:
            shift = _common(first.kinds[kind], second.kinds[kind])
            if shift is not None:
                drifts[kind] = shift
    return drifts


def _common(first: Shift, second: Shift) -> Shift | None:
    """The smaller of two shifts that are both beyond noise, in the same direction."""
    if not (first.beyond_noise and second.beyond_noise) or first.change * second.change < 0:
        return None
    return min(first, second, key=lambda shift: abs(shift.change))


def _shift(pairs: Sequence[Pair], noise: Noise, changes: Sequence[float]) -> Shift:
    """The median of `changes`, with the noise of a median over `pairs`."""
    deviations = [
        math.hypot(
            noise.of(pair.before.latency_us), pair.before.relative_error, pair.now.relative_error
        )
        for pair in pairs
    ]
    middle = median(pair.change for pair in pairs)
    # Where the sentinels scatter more than was learnt, this is a noisy moment.
    seen = _DEVIATION_BY_MEDIAN * median(
        abs(pair.change - middle) / deviation
        for pair, deviation in zip(pairs, deviations, strict=True)
    )
    # The standard error of a median, by the density of each of its values in the middle.
    density = math.fsum(1 / deviation for deviation in deviations)
    error = _MEDIAN_PENALTY * max(1.0, seen) * math.sqrt(len(pairs)) / density
    limit = max(LEAST_DRIFT, _DEVIATIONS * math.hypot(noise.device, error))
    return Shift(math.exp(median(changes)), limit, len(pairs))
