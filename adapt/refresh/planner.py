"""Chooses which kernels to measure, so that few measurements price many networks. Pure.

What a network's price may be off by falls with every measurement, also of kernels that it does not
have, but whose family it does. Of all that could be measured next, the planner takes what makes the
squared errors of the networks fall most for each second that the device needs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookup_tables.curve import Channels, spread_out
from lookup_tables.curves import Curves
from lookup_tables.families import Family, resized
from lookup_tables.kernel import Kernel

__all__ = ["Demand", "Step", "plan"]

# Members of an unknown family to measure first, by its axes: enough for a trend and to see how well
# it holds.
_FIRST = {1: 5, 2: 8, 3: 10}

# Of those that a curve does not reach, so many are measured at a time: they extend it.
_REACH = 3

# Points of the lattice that is proposed beside the kernels asked about, along each axis.
_LATTICE = 5

# Members of one family that are weighed against each other: those that matter most.
_MOST = 400

_Floats = NDArray[np.float64]
_Members = Mapping[Channels, Kernel]


@dataclass(frozen=True)
class Demand:
    """What networks need of one quantity, such as hot times.

    Attributes:
        weights: for each network, by kernel, how often its value counts in the network's total.
        totals: of each network, in the unit of the values, over all quantities.
        curves: what is known of the quantity.
        seconds, runs: what a measurement takes of the device: a time of its own, and so many runs
            of the kernel; values are microseconds.
        suits: whether the quantity can be measured of a kernel that no network has.
    """

    weights: Sequence[Mapping[Kernel, float]]
    totals: Sequence[float]
    curves: Curves
    seconds: float
    runs: float
    suits: Callable[[Kernel], bool] = lambda kernel: True


@dataclass(frozen=True, slots=True)
class Step:
    """A kernel to measure. `gain`: squared relative errors saved for each second; inf: a must."""

    kernel: Kernel
    gain: float


def plan(demand: Demand, count: int) -> list[Step]:
    """Up to `count` kernels to measure next, best first; those without which there is no answer.

    Equal demands give equal plans. Empty where everything asked about has been measured.
    """
    asked = _by_family(demand)
    musts = list(_musts(demand, asked))
    if musts:
        return musts[:count]
    fields = [_Field(demand, family, members) for family, members in asked.items()]
    steps: list[Step] = []
    while fields and len(steps) < count:
        best = max(fields, key=lambda field: field.best[0])
        if best.best[0] <= 0:
            break
        steps.append(best.take())
    return steps


def _by_family(demand: Demand) -> dict[Family | None, dict[Channels, Kernel]]:
    """The kernels asked about that have not been measured; those without a family under None."""
    found: dict[Family | None, dict[Channels, Kernel]] = defaultdict(dict)
    kernels = sorted({kernel for each in demand.weights for kernel in each}, key=lambda k: k.text)
    for kernel in kernels:
        if demand.curves.measured(kernel):
            continue
        place = demand.curves.place(kernel)
        if place is None:
            found[None][(len(found[None]),)] = kernel
        else:
            found[place.family][place.channels] = kernel
    return dict(sorted(found.items(), key=lambda item: item[0].text if item[0] else ""))


def _musts(demand: Demand, asked: Mapping[Family | None, _Members]) -> Iterable[Step]:
    """What has to be measured before all kernels have an answer."""
    for family, members in asked.items():
        if family is None:
            yield from (Step(kernel, math.inf) for kernel in members.values())
        elif demand.curves.curve(family) is None:
            yield from (Step(kernel, math.inf) for kernel in _first(demand, family, members))
        else:
            known = demand.curves.estimates(members.values())
            unknown = [channels for channels, kernel in members.items() if kernel not in known]
            taken = sorted(demand.curves.points(family))
            stairs = demand.curves.staircases(family)
            # What a step of the staircase does not tell from what is known comes as it stands.
            far = spread_out(unknown, stairs, min(_REACH, len(unknown)), taken) or unknown[:_REACH]
            yield from (Step(members[channels], math.inf) for channels in far)


def _first(demand: Demand, family: Family, members: _Members) -> list[Kernel]:
    """Members of an unknown `family` to begin with: far apart, the largest first."""
    count = _FIRST[len(family.axes)]
    if len(members) <= count:
        return list(members.values())
    stairs, taken = demand.curves.staircases(family), sorted(demand.curves.points(family))
    everyone = _lattice(demand, family, members) | dict(members)
    chosen = spread_out(sorted(everyone), stairs, max(count - len(taken), 1), taken)
    return [everyone[channels] for channels in chosen] or list(members.values())[:count]


def _lattice(demand: Demand, family: Family, members: _Members) -> dict[Channels, Kernel]:
    """Members on the tiles that were not measured, over all the room that `members` take."""
    staircases, taken = demand.curves.staircases(family), demand.curves.points(family)
    some = next(iter(members.values()))
    columns = []
    for counts, staircase in zip(zip(*members, strict=True), staircases, strict=True):
        low, high = math.log(min(counts)), math.log(max(counts))
        steps = (low + (high - low) * step / (_LATTICE - 1) for step in range(_LATTICE))
        inside = sorted({staircase.above(round(math.exp(step))) for step in steps})
        # An axis that never changes, like the classes of a network, stays as it is.
        columns.append(inside if high > low else [counts[0]])
    grid = np.array(np.meshgrid(*columns, indexing="ij")).reshape(len(columns), -1).T
    places = (tuple(int(count) for count in row) for row in grid)
    lattice = {channels: resized(some, channels) for channels in places if channels not in taken}
    return {channels: kernel for channels, kernel in lattice.items() if demand.suits(kernel)}


class _Field:
    """One family: what is still uncertain of its members, and what each would tell."""

    def __init__(self, demand: Demand, family: Family | None, members: _Members) -> None:
        assert family is not None
        curve = demand.curves.curve(family)
        assert curve is not None
        weights = {
            channels: [each.get(kernel, 0.0) for each in demand.weights]
            for channels, kernel in members.items()
        }
        heaviest = sorted(members, key=lambda channels: (-sum(weights[channels]), channels))[:_MOST]
        everyone = {
            **{channels: members[channels] for channels in heaviest},
            **_lattice(demand, family, members),
        }
        self._kernels = list(everyone.values())
        places = list(everyone)
        values, _ = curve.at(places)
        totals = np.array(demand.totals)[:, None]
        none = [0.0] * len(demand.weights)
        amounts = np.array([weights.get(channels, none) for channels in places]).T
        # How much an error of each member, as a share of it, is of each network's total.
        self._shares: _Floats = amounts * values / totals
        self._covariance = curve.covariance(places)
        self._noise = curve.noise**2
        self._seconds = demand.seconds + demand.runs * values * 1e-6
        self._scale = demand.curves.scale(family) ** 2
        self._left = np.ones(len(places), bool)
        self.best = self._best()

    def take(self) -> Step:
        """Count the best member as measured; it is returned."""
        gain, index = self.best
        column = self._covariance[:, index].copy()
        known = column[index] + self._noise
        self._covariance -= np.outer(column, column) / known
        self._shares[:, index] = 0.0
        self._left[index] = False
        self.best = self._best()
        return Step(self._kernels[index], gain)

    def _best(self) -> tuple[float, int]:
        """The largest gain for each second, and whose it is; of equals the first."""
        told = ((self._shares @ self._covariance) ** 2).sum(axis=0)
        saved = told / (np.diag(self._covariance) + self._noise)
        # What is measured itself is no longer a guess that noise adds to.
        saved += self._noise * (self._shares**2).sum(axis=0)
        gains = np.where(self._left, self._scale * saved / self._seconds, 0.0)
        index = int(np.argmax(gains))
        return float(gains[index]), index
