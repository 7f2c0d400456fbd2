"""The proposals of a round, different ways to narrow several groups at once; mending one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from adapt.cost.base import Missing
from adapt.methods.landscape import Landscape, Lost, Widths, together
from adapt.training.finetune import derive_seed

__all__ = ["mended", "proposals"]

# How widely proposals doubt what is expected: standard deviations of a lognormal factor on each
# group's loss, in turns. The first takes expectations as they are.
_DOUBTS = (0.0, 0.3, 0.6, 1.0)

# Tries for each proposal that is wanted, the doubts growing: many come to the same widths.
_TRIES = 4

# Of those seen, so many have their neighbours looked at.
_BEST = 2


def proposals(
    landscape: Landscape,
    expected: Lost,
    seen: Sequence[Mapping[str, int]],
    count: int,
    seed: int,
) -> list[Widths]:
    """At most `count` widths that reach the goal of `landscape` and are not among `seen`.

    Some win the most for the least that is `expected` to be lost, each with doubts of its own that
    derive from `seed`. Others are neighbours of the first that were seen, which are the best; where
    nothing was and there are many, some narrow one group, as the paper's do, or all alike. Raises
    Missing with what they lack.
    """
    found: list[Widths] = []
    missing: list[Missing] = []
    for source in _sources(landscape, expected, seen, count, seed):
        if len(found) + len(missing) == count:
            break
        try:
            widths = source()
        except Missing as lack:
            missing.append(lack)
            continue
        if widths not in (*seen, *found) and landscape.meets(widths):
            found.append(widths)
    if missing:
        raise Missing.together(missing)
    return found


def mended(
    landscape: Landscape,
    expected: Lost,
    widths: Widths,
    known: Sequence[Widths],
    least_used: float,
) -> tuple[Widths, float] | None:
    """Widths near to `widths` that meet the goal, and how much more is `expected` to be lost.

    They use `least_used` of the goal at least, if any near ones do. None where all are `known`.
    Raises Missing.
    """

    def more(other: Widths) -> float:
        return sum(expected(n, other[n]) - expected(n, width) for n, width in widths.items())

    nearest = landscape.mended(widths, expected)
    fits = landscape.meets(nearest) and landscape.used(nearest) >= least_used
    if fits and nearest not in known:
        return nearest, more(nearest)
    near = [nearest, *together(landscape.neighbours(widths, expected))]
    unknown = [w for w in near if w not in known and landscape.meets(w)]
    if not unknown:
        return None
    fitting = [w for w in unknown if landscape.used(w) >= least_used]
    found = min(fitting, key=more) if fitting else max(unknown, key=landscape.used)
    return found, more(found)


def _sources(
    landscape: Landscape,
    expected: Lost,
    seen: Sequence[Mapping[str, int]],
    count: int,
    seed: int,
) -> Iterator[Callable[[], Widths]]:
    """Functions that each make one proposal."""
    combined = [
        partial(
            landscape.greedy,
            partial(_doubted, expected, _doubts(landscape.widths, n, seed, 1 + n // count)),
        )
        for n in range(_TRIES * count)
    ]
    # Single groups, a quarter of a round, more where combinations coincide: few trials are better
    # spent on several.
    first = (count + 1) // 2 if seen else count - count // 4
    yield from combined[:first]
    if seen:
        near = [way for widths in seen[:_BEST] for way in landscape.neighbours(widths, expected)]
        order = np.random.default_rng(seed).permutation(len(near))
        yield from (near[place] for place in order)
    else:
        alone = sorted(landscape.alone(), key=lambda w: sum(expected(n, w[n]) for n in w))
        yield from (partial(dict, widths) for widths in alone)
        yield lambda: landscape.refunded(landscape.scaled(), expected)
    yield from combined[first:]


def _doubts(groups: Mapping[str, int], number: int, seed: int, times: int) -> dict[str, float]:
    random = np.random.default_rng(derive_seed(seed, number))
    factors = random.lognormal(0.0, _DOUBTS[number % len(_DOUBTS)] * times, len(groups))
    return dict(zip(groups, factors.tolist(), strict=True))


def _doubted(expected: Lost, doubts: Mapping[str, float], group: str, width: int) -> float:
    return expected(group, width) * doubts[group]
