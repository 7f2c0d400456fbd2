"""What the runtime leaves out of two neighbouring kernels.

Found by timing pairs beside their parts, kind by kind, on each platform; nothing is assumed of any
operator. Within a few percent there are three cases: the pair takes as long as both, as long as the
second alone (the first is free), or as long as the first alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from adapt.tflite.pairs import Pair, pairs_of
from lookup_tables.kernel import Kernel

__all__ = ["PAIR_FACTS", "Fusion", "PairTimes", "Trial", "free_kernels", "judge_pairs"]

# The name of a kind's fact is this and the kind; its value is a Fusion.
PAIR_FACTS = "pair "

# The cheaper of two kernels has to be this share of both for a pair to tell whether it is free: the
# time of some kernels depends on their data by a tenth.
_TELLING = 0.15

# Below this, microseconds, it makes no difference to any network.
_LEAST_US = 0.05


class Fusion(IntEnum):
    """What a pair of kernels takes."""

    NONE = 0
    FIRST_FREE = 1
    SECOND_FREE = 2


@dataclass(frozen=True)
class PairTimes:
    """A pair and its parts as timed in one batch, microseconds, each less the call."""

    first: float
    second: float
    both: float

    @property
    def telling(self) -> bool:
        """Whether the three cases differ by more than noise."""
        lesser = min(self.first, self.second)
        return lesser >= max(_LEAST_US, _TELLING * (self.first + self.second))


def judge_pairs(times: Sequence[PairTimes]) -> Fusion:
    """The case that pairs of one kind are closest to, in the median; NONE if none is telling."""
    telling = [each for each in times if each.telling and each.both > 0]
    if not telling:
        return Fusion.NONE
    distances = {
        case: statistics.median(
            abs(math.log(each.both / _expected(each, case))) for each in telling
        )
        for case in Fusion
    }
    return min(Fusion, key=distances.__getitem__)


def _expected(times: PairTimes, case: Fusion) -> float:
    if case == Fusion.FIRST_FREE:
        return times.second
    return times.first if case == Fusion.SECOND_FREE else times.first + times.second


@dataclass(frozen=True)
class Trial:
    """Which kernels of a network are free, by position, and the pairs of kinds not yet known."""

    free: frozenset[int]
    unknown: tuple[Pair, ...]


def free_kernels(kernels: Sequence[Kernel], facts: Mapping[str, float]) -> Trial:
    """Apply the platform's `facts` to a network of `kernels`, in the order in which they run."""
    free: set[int] = set()
    unknown: list[Pair] = []
    for position, pair in enumerate(pairs_of(kernels)):
        if pair is None:
            continue
        value = facts.get(PAIR_FACTS + pair.kind)
        if value is None:
            unknown.append(pair)
        elif value == Fusion.FIRST_FREE:
            free.add(position)
        elif value == Fusion.SECOND_FREE:
            free.add(position + 1)
    return Trial(frozenset(free), tuple(unknown))
