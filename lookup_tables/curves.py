"""What kernels that nobody measured would take, from those of their family that were measured.

A value is answered with an expected error: in nine of ten cases the truth is no further away. It
comes from the curve of the family (`lookup_tables.curve`), widened or narrowed by how well such
statements held for the platform's own entries of the same operator, each left out in turn.
Works for any positive quantity: times with warm and with cold caches, energy.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lookup_tables.curve import Channels, Curve, Tuning, choose, spread_out
from lookup_tables.families import Axis, Family, Member, member
from lookup_tables.kernel import Kernel
from lookup_tables.staircase import PLAIN, Staircase

__all__ = ["COVERAGE", "DEVIATIONS", "Curves", "Estimate", "widening"]

# How often the truth lies within the expected error.
COVERAGE = 0.9

# Deviations of a normal distribution that hold so much.
DEVIATIONS = statistics.NormalDist().inv_cdf((1 + COVERAGE) / 2)

# A family with fewer members measured is not known at all: one for each term of the trend.
_MIN_POINTS = {1: 3, 2: 4, 3: 5}

# Channel counts outside the measured ones by more than this factor are not guessed at.
_BEYOND = 1.5

# A value that may be off by more than half is none.
_MAX_ERROR = 0.5

# Before a platform's own entries have shown better, curves are off by this much more than they say.
_PRIOR_SCALE = 1.5

# As many entries as these, left out in turn, weigh as much as that.
_PRIOR_COUNT = 20

# Families of an operator whose entries are left out in turn: the largest, and so many entries each.
_MAX_FAMILIES = 24
_THINNED = 16


_Kind = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value in the unit of those given, and what it may be off by.

    Attributes:
        relative_error: half of the 90 % interval, as a share of `value`; of a measured value, its
            stated error.
        measured: whether it is one of those given.
    """

    value: float
    relative_error: float
    measured: bool


class Curves:
    """Answers from measured `values`; equal values give equal answers, whatever their order."""

    def __init__(
        self,
        values: Mapping[Kernel, tuple[float, float]],
        staircases: Mapping[Axis, Staircase] | None = None,
    ) -> None:
        """`values` are positive, each with its relative error; `staircases` those of the platform.

        Nothing is fitted before it is asked for.
        """
        self._values = values
        self._staircases = dict(staircases or {})
        self._members: dict[Kernel, Member | None] = {}
        self._points: dict[Family, dict[Channels, tuple[float, float]]] = defaultdict(dict)
        for kernel, value in values.items():
            place = self.place(kernel)
            if place is not None:
                self._points[place.family][place.channels] = value
        self._curves: dict[Family, Curve] = {}
        self._kinds: dict[_Kind, tuple[Tuning, float]] = {}

    def estimate(self, kernel: Kernel) -> Estimate | None:
        """What `kernel` takes; None where too little is known of its like."""
        return self.estimates([kernel]).get(kernel)

    def estimates(self, kernels: Iterable[Kernel]) -> dict[Kernel, Estimate]:
        """Answers for those of `kernels` that have one."""
        answers: dict[Kernel, Estimate] = {}
        asked: dict[Family, dict[Channels, Kernel]] = defaultdict(dict)
        for kernel in kernels:
            if kernel in self._values:
                value, error = self._values[kernel]
                answers[kernel] = Estimate(value, error, measured=True)
                continue
            place = self.place(kernel)
            curve = None if place is None else self.curve(place.family)
            if place is not None and curve is not None and curve.reaches(place.channels, _BEYOND):
                asked[place.family][place.channels] = kernel
        for family, members in asked.items():
            answers.update(self._interpolated(family, members))
        return answers

    def place(self, kernel: Kernel) -> Member | None:
        """The family of `kernel` and its place in it; None where it has none."""
        if kernel not in self._members:
            self._members[kernel] = member(kernel)
        return self._members[kernel]

    def measured(self, kernel: Kernel) -> bool:
        """Whether `kernel` is among the values given."""
        return kernel in self._values

    def curve(self, family: Family) -> Curve | None:
        """The curve of `family`; None where too few of its members were measured."""
        if not self._known(family):
            return None
        tuning, _ = self._kind(_kind(family))
        if family not in self._curves:
            curve = Curve(self._points[family], self.staircases(family))
            curve.tune(tuning, curve.likeliest_size(tuning))
            self._curves[family] = curve
        return self._curves[family]

    def staircases(self, family: Family) -> list[Staircase]:
        """Staircases of the axes of `family`; plain ones where none has been learnt."""
        return [self._staircases.get(axis, PLAIN) for axis in family.axes]

    def basis(self, kernels: Iterable[Kernel]) -> list[Kernel]:
        """The measured kernels of all families that one of `kernels` is of."""
        families = {place.family for kernel in kernels if (place := self.place(kernel)) is not None}
        places = ((kernel, self.place(kernel)) for kernel in self._values)
        return [
            kernel for kernel, place in places if place is not None and place.family in families
        ]

    def points(self, family: Family) -> frozenset[Channels]:
        """Channel counts of the measured members of `family`."""
        return frozenset(self._points.get(family, ()))

    def scale(self, family: Family) -> float:
        """By how much to widen what curves of this operator and element type say of their errors.

        Chosen so that nine of ten of the entries, each left out in turn, are where the others of
        their families expect them.
        """
        return self._kind(_kind(family))[1]

    def _kind(self, kind: _Kind) -> tuple[Tuning, float]:
        """Tuning and scale of an operator and element type, from its families together."""
        if kind not in self._kinds:
            alike = [f for f in self._points if _kind(f) == kind and self._known(f)]
            alike.sort(key=lambda f: (-len(self._points[f]), f.text))
            curves = [self._thinned(family) for family in alike[:_MAX_FAMILIES]]
            tuning, sizes = choose([curve.likelihoods() for curve in curves])
            for curve, size in zip(curves, sizes, strict=True):
                curve.tune(tuning, size)
            surprises = [each for curve in curves for each in curve.surprises()]
            self._kinds[kind] = tuning, widening(surprises)
        return self._kinds[kind]

    def _known(self, family: Family) -> bool:
        return len(self._points.get(family, ())) >= _MIN_POINTS[len(family.axes)]

    def _thinned(self, family: Family) -> Curve:
        """The curve through few points of `family`.

        What others of a dense sweep say of each of its points tells nothing of how well a few do.
        Counts on the tile are as rare among them as among those that will be asked about.
        """
        points = self._points[family]
        chosen = spread_out(sorted(points), [PLAIN] * len(family.axes), _THINNED)
        return Curve({channels: points[channels] for channels in chosen}, self.staircases(family))

    def _interpolated(
        self, family: Family, members: Mapping[Channels, Kernel]
    ) -> dict[Kernel, Estimate]:
        curve = self.curve(family)
        assert curve is not None
        values, deviations = curve.at(list(members))
        widen = self.scale(family) * DEVIATIONS
        return {
            kernel: Estimate(float(value), float(widen * deviation), measured=False)
            for kernel, value, deviation in zip(members.values(), values, deviations, strict=True)
            if widen * deviation <= _MAX_ERROR
        }


def _kind(family: Family) -> _Kind:
    axis = family.axes[0]
    return axis.op, axis.dtype, axis.window


def widening(surprises: Iterable[float]) -> float:
    """The factor under which COVERAGE of `surprises` and of those expected beforehand fit.

    Not below 1: what was measured within minutes agrees better than it will with what comes later.
    """
    normal = statistics.NormalDist()
    expected = [
        _PRIOR_SCALE * normal.inv_cdf(0.5 + (number + 0.5) / _PRIOR_COUNT / 2)
        for number in range(_PRIOR_COUNT)
    ]
    together = sorted([*surprises, *expected])
    rank = math.ceil(COVERAGE * (len(together) + 1))
    return max(1.0, together[min(rank, len(together)) - 1] / DEVIATIONS)
