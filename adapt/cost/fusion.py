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

__all__ = [
    "PAIR_FACTS",
    "Fusion",
    "PairTimes",
    "Trial",
    "free_kernels",
    "judge_pairs",
    "telling_share",
    "untold",
]

# The name of a kind's fact is this and the kind; its value is a Fusion.
PAIR_FACTS = "pair "

# The cheaper of two kernels has to be this share of both for a pair to tell whether it is free: the
# time of some kernels depends on their data by a tenth.
_TELLING = 0.15

# Below this, microseconds, it makes no difference to any network.
_LEAST_US = 0.05


class Fusion(IntEnum):
    """What a pair of kernels takes; UNTOLD where those timed were too unequal or short to tell."""

    NONE = 0
    FIRST_FREE = 1
    SECOND_FREE = 2
    UNTOLD = 3


_CASES = (Fusion.NONE, Fusion.FIRST_FREE, Fusion.SECOND_FREE)


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


def telling_share(first_us: float, second_us: float) -> float:
    """How much the time of a pair of such kernels says of it: 1 and more is beyond doubt."""
    lesser = min(first_us, second_us)
    return 0.5 * min(lesser / _LEAST_US, lesser / (first_us + second_us) / _TELLING)


def free_kernels(
    kernels: Sequence[Kernel], times: Sequence[float | None], facts: Mapping[str, float]
) -> Trial:
    """Apply the platform's `facts` to a network of `kernels`, in the order in which they run.

    `times` are those of the kernels alone, microseconds, None where unknown: where they would tell
    of a kind what others did not, it is asked for again.
    """
    free: set[int] = set()
    unknown: list[Pair] = []
    for position, pair in enumerate(pairs_of(kernels)):
        if pair is None:
            continue
        value = facts.get(PAIR_FACTS + pair.kind)
        if value is None or (value == Fusion.UNTOLD and _tells(*times[position : position + 2])):
            unknown.append(pair)
        elif value == Fusion.FIRST_FREE:
            free.add(position)
        elif value == Fusion.SECOND_FREE:
            free.add(position + 1)
    return Trial(frozenset(free), tuple(unknown))


def untold(name: str, value: float) -> bool:
    """Whether a fact says of a kind of pairs only that those timed told nothing."""
    return name.startswith(PAIR_FACTS) and value == Fusion.UNTOLD


def _tells(first_us: float | None, second_us: float | None) -> bool:
    return bool(first_us and second_us) and telling_share(first_us or 0, second_us or 0) >= 1
