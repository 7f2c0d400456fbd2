"""The analytic model made to fit a platform: what kernels take by the few that were measured.

Where a table knows nothing of a kernel's family (see `lookup_tables.curves`), other kernels of its
class, operator and type of data, still tell something, and those of other classes a little. The
logarithm of a kernel's time is taken to be that of its work, MACs and bytes at a fixed rate, and
what the platform and the class make of it. The latter is fitted by ridge regression: a level for
the platform, for each operator, type and class; slopes over the logarithms of what a kernel has to
do, among them what the Eyeriss model says of it; and a smooth rest for each operator. In few
entries each of these is drawn to nothing, and left is what is proportional to the work.

The same is done for any positive quantity, such as cold times and energies.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from adapt.cost.work import Work, work_of
from lookup_tables.curves import DEVIATIONS, Estimate, widening
from lookup_tables.kernel import Kernel

__all__ = ["Calibration", "LeftOut", "class_of"]

_Floats = NDArray[np.float64]

# Operator and type of data.
_Class = tuple[str, str]

# What a MAC and a call count for in the work, beside a byte read or written. Anything from three to
# ten bytes for a MAC does as well: levels of operators make up for it.
_BYTES_OF_MAC = 5.0
_BYTES_OF_CALL = 1000.0

# Standard deviations, in natural logarithms, that levels are drawn to nothing with: of the whole
# platform, of kernels that multiply and that do not, of operators, of types, and of classes.
_PLATFORM = 2.0
_MULTIPLYING = 1.0
_OPERATOR = 1.5
_TYPE = 1.0
_CLASS = 0.6

# The same of slopes, for each unit of the logarithm of a feature: of kernels that multiply or do
# not, and of an operator.
_SLOPE = 0.05
_OPERATOR_SLOPE = 0.07

# The smooth rest of an operator: its size, the distance in features over which it changes, and the
# share of it that all types of data have in common.
_REST = 0.5
_LENGTH = 6.0
_SHARED = 0.5

# What no feature tells.
_NOISE = 0.1

# Kernels more than these make it no better, and solving for them takes a good part of a second.
_MAX_KERNELS = 384

# Decimals of a stated error: beyond them answers depend on what else is asked.
_ERROR_DIGITS = 6


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How far off kernels are when each is told by all others.

    Attributes:
        kernels: how many there are.
        error: median of their absolute relative errors.
    """

    kernels: int
    error: float


def class_of(kernel: Kernel) -> _Class:
    """Operator and type of data: what is calibrated apart."""
    return kernel.op, kernel.dtype


class Calibration:
    """Answers from measured `values`; equal values give equal answers, whatever their order."""

    def __init__(self, values: Mapping[Kernel, tuple[float, float]]) -> None:
        """`values`, at least one, are positive, each with its relative error.

        Nothing is fitted before it is asked for.
        """
        if not values:
            raise ValueError("nothing to calibrate by")
        self._kernels = _sample(values)
        self._values = values

    @property
    def kernels(self) -> int:
        """How many kernels it rests on."""
        return len(self._kernels)

    def estimates(self, kernels: Iterable[Kernel]) -> dict[Kernel, Estimate]:
        """What each of `kernels` takes, in the unit of the values; measured ones too are told."""
        wanted = list(dict.fromkeys(kernels))
        if not wanted:
            return {}
        fit = self._fit
        places = _Places.of(wanted)
        across = places.covariance(fit.places)
        # Sums row by row, not products of matrices: see _summed.
        logs = places.work + fit.level + (across * fit.weights).sum(-1)
        known = ((across @ fit.inverse) * across).sum(-1)
        variance = np.maximum(places.variance() - known, 0.0) + _NOISE**2
        errors = np.expm1(DEVIATIONS * self._widen * np.sqrt(variance)).round(_ERROR_DIGITS)
        return {
            kernel: Estimate(float(value), float(error), measured=False)
            for kernel, value, error in zip(wanted, np.exp(logs), errors, strict=True)
        }

    def left_out(self) -> dict[_Class, LeftOut]:
        """Leave-one-out errors of each class; empty where there is only one kernel."""
        classes: dict[_Class, list[float]] = defaultdict(list)
        if self.kernels > 1:
            for kernel, error in zip(self._kernels, self._fit.left_out, strict=True):
                classes[class_of(kernel)].append(abs(math.expm1(-error)))
        return {
            name: LeftOut(len(errors), statistics.median(errors))
            for name, errors in sorted(classes.items())
        }

    @property
    def error(self) -> float | None:
        """Median of the leave-one-out errors of all kernels; None where there is only one."""
        if self.kernels < 2:
            return None
        return statistics.median(abs(math.expm1(-error)) for error in self._fit.left_out)

    def __str__(self) -> str:
        """For people: what it rests on, and how good it is."""
        if self.error is None:
            return "calibrated to 1 kernel, error unknown"
        return f"calibrated to {self.kernels} kernels, median leave-one-out error {self.error:.0%}"

    @cached_property
    def _fit(self) -> _Fit:
        values = [self._values[kernel] for kernel in self._kernels]
        logs: _Floats = np.log(np.array([value for value, _ in values]))
        errors: _Floats = np.array([error for _, error in values])
        return _Fit.of(_Places.of(self._kernels), logs, errors)

    @cached_property
    def _widen(self) -> float:
        """By how much to widen stated errors, so that they hold for the kernels left out."""
        return widening(self._fit.surprises) if self.kernels > 1 else widening(())


@dataclass(frozen=True)
class _Places:
    """Where kernels lie.

    Attributes:
        work: logarithms of the work, bytes; [kernels].
        features: logarithms of what there is to do; [kernels, features].
        multiplies: whether there are MACs; [kernels].
        operators, types: names; [kernels].
    """

    work: _Floats
    features: _Floats
    multiplies: NDArray[np.bool_]
    operators: NDArray[np.str_]
    types: NDArray[np.str_]

    @classmethod
    def of(cls, kernels: Sequence[Kernel]) -> _Places:
        works = [work_of(kernel) for kernel in kernels]
        amounts = [_BYTES_OF_MAC * work.macs + work.activations + _BYTES_OF_CALL for work in works]
        return cls(
            work=np.log(amounts),
            features=np.array([_features(work) for work in works]),
            multiplies=np.array([work.macs > 0 for work in works]),
            operators=np.array([kernel.op for kernel in kernels]),
            types=np.array([kernel.dtype for kernel in kernels]),
        )

    def covariance(self, other: _Places) -> _Floats:
        """Covariance of logarithms, work aside, before anything is measured; [self, other]."""
        multiplying = _alike(self.multiplies, other.multiplies)
        operator = _alike(self.operators, other.operators)
        dtype = _alike(self.types, other.types)
        slopes = self._summed(other, np.multiply)
        rest = _SHARED + (1 - _SHARED) * dtype
        covariance: _Floats = (
            _PLATFORM**2
            + _MULTIPLYING**2 * multiplying
            + _OPERATOR**2 * operator
            + _TYPE**2 * dtype
            + _CLASS**2 * operator * dtype
            + _SLOPE**2 * slopes * multiplying
            + _OPERATOR_SLOPE**2 * slopes * operator
            + _REST**2 * self._smooth(other) * operator * rest
        )
        return covariance

    def variance(self) -> _Floats:
        """The diagonal of the covariance with itself; [kernels]."""
        levels = _PLATFORM**2 + _MULTIPLYING**2 + _OPERATOR**2 + _TYPE**2 + _CLASS**2 + _REST**2
        squares: _Floats = (self.features**2).sum(-1)
        return levels + (_SLOPE**2 + _OPERATOR_SLOPE**2) * squares

    def _smooth(self, other: _Places) -> _Floats:
        """Matern with smoothness 3/2, as in `lookup_tables.curve`."""
        squares = self._summed(other, lambda a, b: (a - b) ** 2)
        scaled = math.sqrt(3) * np.sqrt(squares) / _LENGTH
        correlation: _Floats = (1 + scaled) * np.exp(-scaled)
        return correlation

    def _summed(self, other: _Places, term: Callable[[_Floats, _Floats], _Floats]) -> _Floats:
        """`term` of each feature of one and of the other, summed in order; [self, other].

        No product of matrices: an answer must not depend, not even in the last bit, on which others
        are asked for with it.
        """
        terms = (
            term(mine[:, None], theirs[None])
            for mine, theirs in zip(self.features.T, other.features.T, strict=True)
        )
        return sum(terms, np.zeros((len(self.features), len(other.features))))


@dataclass(frozen=True)
class _Fit:
    """What was measured, solved for.

    Attributes:
        level: subtracted beforehand, so that few entries are drawn to their own middle.
        inverse, weights: of the covariance of what was measured.
    """

    places: _Places
    level: float
    inverse: _Floats
    weights: _Floats

    @classmethod
    def of(cls, places: _Places, logs: _Floats, errors: _Floats) -> _Fit:
        residuals = logs - places.work
        level = float(np.median(residuals))
        covariance = places.covariance(places) + np.diag(_NOISE**2 + errors**2)
        inverse: _Floats = np.asarray(np.linalg.inv(covariance), np.float64)
        return cls(places, level, inverse, inverse @ (residuals - level))

    @property
    def left_out(self) -> _Floats:
        """Logarithm of each value less what all others say of it; [kernels]."""
        errors: _Floats = self.weights / np.diag(self.inverse)
        return errors

    @property
    def surprises(self) -> list[float]:
        """The same without sign, in deviations that the others state."""
        return [float(each) for each in np.abs(self.weights) / np.sqrt(np.diag(self.inverse))]


def _features(work: Work) -> list[float]:
    # What there may be none of is counted from one.
    counted = [math.log1p(n) for n in (work.macs, work.weights, work.activations, work.results)]
    return [*counted, math.log(work.energy_of_mac), math.log(work.cycles_of_mac)]


def _alike(a: NDArray[np.generic], b: NDArray[np.generic]) -> _Floats:
    alike: _Floats = (a[:, None] == b[None]).astype(np.float64)
    return alike


def _sample(kernels: Iterable[Kernel]) -> list[Kernel]:
    """Up to `_MAX_KERNELS` of `kernels`, small classes whole.

    By key, which is as good as by chance, and does not depend on how they come.
    """
    classes: dict[_Class, list[Kernel]] = defaultdict(list)
    for kernel in sorted(kernels, key=lambda kernel: kernel.key):
        classes[class_of(kernel)].append(kernel)
    ranked = [(rank, each) for members in classes.values() for rank, each in enumerate(members)]
    ranked.sort(key=lambda place: (place[0], place[1].key))
    return [kernel for _, kernel in ranked[:_MAX_KERNELS]]
