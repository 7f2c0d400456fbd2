"""Time over the channels of one family of kernels, from the few members that were measured.

A trend of physical shape, `a + b*m + c*n + d*m*n` over effective channels m and n, carries the
bulk; what remains, a few percent in the logarithm, varies smoothly with the logarithm of the
channels and is interpolated as a Gaussian process (kriging), which also says how far off it may be.
How smooth and how noisy the families of an operator are is chosen by likelihood from a small grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookup_tables.staircase import Staircase

__all__ = ["MAX_POINTS", "Channels", "Curve", "Tuning", "choose", "spread_out"]

Channels = tuple[int, ...]
_Floats = NDArray[np.float64]

# More members than this no longer make a curve better, and solving for them takes milliseconds.
MAX_POINTS = 192

# How smooth and how noisy a family is shows in fewer.
_POINTS_TO_TUNE = 64

# The grid: lengths over which the residual changes, in natural logarithms of channels; its size,
# and the noise from one process to another, both as shares of the time. The same kernels differ by
# one to two percent, all alike, from one quarter of an hour to the next; a single batch hides that.
_LENGTHS = (0.4, 0.8, 1.6, 3.2)
_SIZES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
_NOISES = (0.0125, 0.02, 0.03, 0.05)

# What to expect before anything is known: logarithmic means and deviations of the three.
_LENGTH_PRIOR = (math.log(1.0), 0.5)
_SIZE_PRIOR = (math.log(0.05), 0.7)
_NOISE_PRIOR = (math.log(0.015), 0.5)

# Share of the residual that counts on and off the tile have in common.
_SHARED = 0.5

# Deviation of the trend as a whole and of each of its terms, as a share of it: few points may
# divide the time among the terms wrongly.
_OFFSET = 0.5

# Decimals of a deviation: enough for anyone, and beyond them answers depend on what else is asked.
_ERROR_DIGITS = 6

# Weight of keeping the trend's coefficients small, as a share of that of the points: with fewer
# points than coefficients there is still one answer.
_RIDGE = 1e-4


@dataclass(frozen=True)
class _Places:
    """Where members lie.

    Attributes:
        logs: logarithms of the channels, each on the next step of its staircase; [members, axes].
        kinds: what is equal for counts that a staircase treats alike; [members, axes].
        effective: effective channels; [members, axes].
    """

    logs: _Floats
    kinds: _Floats
    effective: _Floats

    @classmethod
    def of(cls, members: Sequence[Channels], staircases: Sequence[Staircase]) -> _Places:
        def table(name: str) -> _Floats:
            columns = [
                [getattr(staircase, name)(channels[axis]) for channels in members]
                for axis, staircase in enumerate(staircases)
            ]
            return np.array(columns, np.float64).T.copy()

        return cls(np.log(table("above")), table("kind"), table("effective"))

    def __getitem__(self, index: Sequence[int]) -> _Places:
        return _Places(self.logs[index], self.kinds[index], self.effective[index])

    @cached_property
    def terms(self) -> _Floats:
        """The trend's terms: one, each axis, and the product of two; [members, terms]."""
        columns = [np.ones(len(self.effective)), *self.effective.T]
        if self.effective.shape[1] == 2:
            columns.append(self.effective.prod(axis=1))
        stacked: _Floats = np.stack(columns, axis=1)
        return stacked

    def apart(self, other: _Places) -> tuple[_Floats, NDArray[np.bool_]]:
        """Distances in logarithms to members of `other`, and which are of the same kinds."""
        distance = np.sqrt(((self.logs[:, None] - other.logs[None]) ** 2).sum(-1))
        return distance, (self.kinds[:, None] == other.kinds[None]).all(-1)


@dataclass(frozen=True, order=True)
class Tuning:
    """How the residuals of an operator's families vary; see the grid."""

    length: float
    noise: float


_TUNINGS = tuple(itertools.starmap(Tuning, itertools.product(_LENGTHS, _NOISES)))


class Curve:
    """The curve of one family; equal points give an equal curve, whatever their order."""

    def __init__(
        self, points: Mapping[Channels, tuple[float, float]], staircases: Sequence[Staircase]
    ) -> None:
        """Fit the trend of `points`, at least one: by channels a positive value and its error.

        `staircases` are those of the family's axes.
        """
        self._staircases = tuple(staircases)
        self.members = sorted(spread_out(sorted(points), staircases, MAX_POINTS))
        self._places = _Places.of(self.members, self._staircases)
        values = np.array([points[channels][0] for channels in self.members])
        self._stated = np.array([points[channels][1] for channels in self.members])
        self._trend = _fit_trend(self._places.terms, values)
        self._residuals = np.log(values / (self._places.terms @ self._trend))

    def likelihoods(self) -> _Floats:
        """Logarithms of the likelihood of the points; [_TUNINGS, _SIZES]."""
        some = _spread_out(self._places, _POINTS_TO_TUNE)
        places, residuals = self._places[some], self._residuals[some]
        fixed = self._trend_covariance(places, places) + np.diag(self._stated[some] ** 2)
        apart = places.apart(places)
        sizes = np.array(_SIZES)[:, None, None] ** 2
        rows = []
        for tuning in _TUNINGS:
            stack = sizes * _alike(*apart, tuning) + fixed + tuning.noise**2 * np.eye(len(some))
            rows.append(_likelihood(stack, residuals) + _log_prior(np.array(_SIZES), _SIZE_PRIOR))
        return np.array(rows)

    def likeliest_size(self, tuning: Tuning) -> float:
        """The size of the residuals that goes best with `tuning`."""
        return _SIZES[int(np.argmax(self.likelihoods()[_TUNINGS.index(tuning)]))]

    def tune(self, tuning: Tuning, size: float) -> None:
        """Settle how smooth and how noisy the curve is; needed before it answers."""
        self._tuning, self._size = tuning, size
        covariance = self._prior_covariance(self._places, self._places)
        covariance += np.diag(tuning.noise**2 + self._stated**2)
        self._inverse = np.linalg.inv(covariance)
        self._weights = self._inverse @ self._residuals

    @property
    def noise(self) -> float:
        """How much a value differs from one process to another, as a share of it."""
        return self._tuning.noise

    def reaches(self, channels: Channels, beyond: float) -> bool:
        """Whether all counts lie within those of the points, or outside by a factor of `beyond`."""
        return all(
            min(column) / beyond <= count <= max(column) * beyond
            for count, column in zip(channels, zip(*self.members, strict=True), strict=True)
        )

    def at(self, members: Sequence[Channels]) -> tuple[_Floats, _Floats]:
        """Values at `members`, and their deviations as shares of them, noise included."""
        places = _Places.of(members, self._staircases)
        across = self._prior_covariance(places, self._places)
        known = ((across @ self._inverse) * across).sum(-1)
        before = self._size**2 + _OFFSET**2 * (1 + (self._shares(places) ** 2).sum(-1))
        variance = np.maximum(before - known, 0.0) + self._tuning.noise**2
        # Sums row by row, not products of matrices: the value of one member must not depend, not
        # even in the last bit, on which others are asked about with it.
        trend = (places.terms * self._trend).sum(-1)
        values = trend * np.exp((across * self._weights).sum(-1))
        return values, np.sqrt(variance).round(_ERROR_DIGITS)

    def covariance(self, members: Sequence[Channels]) -> _Floats:
        """Covariance of the errors at `members`, as shares of the values, without noise."""
        places = _Places.of(members, self._staircases)
        across = self._prior_covariance(places, self._places)
        left: _Floats = self._prior_covariance(places, places) - across @ self._inverse @ across.T
        return left

    def surprises(self) -> list[float]:
        """How far each point is from what the others say, in deviations that they state."""
        return [
            float(abs(weight) / math.sqrt(scale))
            for weight, scale in zip(self._weights, np.diag(self._inverse), strict=True)
        ]

    def _prior_covariance(self, a: _Places, b: _Places) -> _Floats:
        """Covariance of residuals at `a` and at `b` before any is known."""
        return self._size**2 * _alike(*a.apart(b), self._tuning) + self._trend_covariance(a, b)

    def _trend_covariance(self, a: _Places, b: _Places) -> _Floats:
        common = self._shares(a)[:, None] * self._shares(b)[None]
        covariance: _Floats = _OFFSET**2 * (1 + common.sum(-1))
        return covariance

    def _shares(self, places: _Places) -> _Floats:
        """What each term contributes to the trend; [members, terms]."""
        parts = places.terms * self._trend
        shares: _Floats = parts / parts.sum(axis=1, keepdims=True)
        return shares


def choose(likelihoods: Sequence[_Floats]) -> tuple[Tuning, list[float]]:
    """The likeliest tuning that curves with these `likelihoods` share, and the size of each."""
    best = np.sum([each.max(axis=1) for each in likelihoods], axis=0) + np.array(
        [
            _log_prior(tuning.length, _LENGTH_PRIOR) + _log_prior(tuning.noise, _NOISE_PRIOR)
            for tuning in _TUNINGS
        ]
    )
    chosen = int(np.argmax(best))
    return _TUNINGS[chosen], [_SIZES[int(np.argmax(each[chosen]))] for each in likelihoods]


def _alike(distance: _Floats, alike: NDArray[np.bool_], tuning: Tuning) -> _Floats:
    """Correlation of residuals: Matern with smoothness 3/2, less between different kinds."""
    scaled = math.sqrt(3) * distance / tuning.length
    correlation: _Floats = (1 + scaled) * np.exp(-scaled) * np.where(alike, 1.0, _SHARED)
    return correlation


def _likelihood(covariances: _Floats, residuals: _Floats) -> _Floats:
    """Logarithm of the likelihood of `residuals` under each of `covariances`, up to a constant."""
    factors = np.linalg.cholesky(covariances)
    whitened = np.linalg.solve(factors, residuals[None, :, None])[..., 0]
    determinants = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(-1)
    result: _Floats = -0.5 * (whitened**2).sum(-1) - determinants
    return result


def _log_prior(value: Any, prior: tuple[float, float]) -> Any:
    """Logarithm of the prior likelihood of a number, or of each of many, up to a constant."""
    mean, deviation = prior
    return -0.5 * ((np.log(value) - mean) / deviation) ** 2


def _fit_trend(terms: _Floats, values: _Floats) -> _Floats:
    """Coefficients, none negative, of least squared relative error.

    Of every subset of the terms the unconstrained fit is tried: there are 15 at most.
    """
    relative = terms / values[:, None]
    scales = np.sqrt((relative**2).mean(axis=0))
    relative = relative / scales
    ridge = _RIDGE * len(values)
    products, sums = relative.T @ relative, relative.sum(axis=0)
    best: tuple[float, _Floats] | None = None
    for chosen in _subsets(terms.shape[1]):
        matrix = products[np.ix_(chosen, chosen)] + ridge * np.eye(len(chosen))
        solution = np.linalg.solve(matrix, sums[chosen])
        if (solution < 0).any():
            continue
        # The squared error less that of no terms at all.
        loss = float(-sums[chosen] @ solution)
        if best is None or loss < best[0]:
            coefficients = np.zeros(terms.shape[1])
            coefficients[chosen] = solution
            best = loss, coefficients / scales
    assert best is not None  # A single term always has a positive coefficient.
    return best[1]


def _subsets(count: int) -> list[list[int]]:
    return [
        list(chosen)
        for size in range(1, count + 1)
        for chosen in itertools.combinations(range(count), size)
    ]


def spread_out(
    members: Sequence[Channels],
    staircases: Sequence[Staircase],
    count: int,
    taken: Sequence[Channels] = (),
) -> list[Channels]:
    """Up to `count` of `members` far from each other and from those `taken`, furthest first.

    Off the tile is far from on it. With none taken the largest comes first; of equals the first of
    `members` counts.
    """
    everyone = [*members, *taken]
    places = _Places.of(everyone, staircases)
    start = list(range(len(members), len(everyone)))
    return [everyone[index] for index in _spread_out(places, count, start)]


def _spread_out(places: _Places, count: int, taken: Sequence[int] = ()) -> list[int]:
    features = np.concatenate([places.logs, places.kinds], axis=1)
    distance = np.full(len(features), np.inf)
    chosen: list[int] = []

    def take(index: int) -> None:
        nonlocal distance
        distance = np.minimum(distance, ((features - features[index]) ** 2).sum(-1))

    for index in taken:
        take(index)
    if count and not taken:
        chosen.append(int(np.argmax(places.logs.sum(-1))))
        take(chosen[0])
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(np.argmax(distance)))
        take(chosen[-1])
    return chosen
