"""Importance by what the readers of a filter lose when it goes and the others stand in for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights
from adapt.training.activations import Moments, Reader
from adapt.training.algebra import inverse
from adapt.training.compensation import RIDGE
from adapt.training.importance.kernels import magnitudes

__all__ = ["output_errors"]


# Keeps shares of nothing finite.
_LEAST = 1e-30


def output_errors(
    weights: Weights,
    groups: ChannelGroups,
    readers: Sequence[Reader],
    moments: Sequence[Moments],
    keep: Keep,
) -> np.ndarray:
    """Share of its readers' variance that each filter takes along; form as `magnitudes`.

    The filters of a group go one by one, each time the one that is missed least while the others
    stand in as `compensated` has it (the surgeon's rule of Hassibi and Stork, 1993, for channels),
    so that of two equal filters one is important. Filters that no reader reads go by magnitude.
    What is not finite, of a network that diverged, counts as nothing.
    """
    kept = groups.kept(keep)
    found = np.zeros(len(kept))
    for group in groups.groups:
        filters = group.filters[kept[group.filters]]
        reading = [
            _Reading(weights, reader, moment, kept, filters)
            for reader, moment in zip(readers, moments, strict=True)
            if np.isin(filters, reader.filters).any()
        ]
        if reading:
            found[filters] = _eliminated(len(filters), reading)
        else:
            squares = _finite(np.square(magnitudes(weights, groups, keep)[filters]))
            found[filters] = squares / max(squares.sum(), _LEAST)
    return found


def _finite(values: np.ndarray) -> np.ndarray:
    """`values`, and 0 for those that are not finite."""
    return np.where(np.isfinite(values), values, 0.0)


def _eliminated(count: int, reading: list[_Reading]) -> np.ndarray:
    """What each of `count` filters takes along when its turn comes, no less than those before."""
    errors = np.full(count, np.inf)
    reached = 0.0
    for _ in range(count):
        total = sum(each.errors(count) for each in reading)
        assert isinstance(total, np.ndarray)
        total[np.isfinite(errors)] = np.inf
        weakest = int(total.argmin())
        reached = max(reached, float(total[weakest]))
        errors[weakest] = reached
        for each in reading:
            each.remove(weakest)
    return errors


class _Reading:
    """One kernel while filters of a group are taken from what it reads.

    `owner[p]` numbers the filter at position p among those of the group, -1 for others. Where no
    covariance is known, or the kernel is not finite, none stands in for another: of the inverse
    there is the diagonal, and of each row of the kernel its norm.
    """

    def __init__(
        self,
        weights: Weights,
        reader: Reader,
        moment: Moments,
        kept: np.ndarray,
        filters: np.ndarray,
    ) -> None:
        read = reader.filters[kept[reader.filters]]
        places = {int(number): place for place, number in enumerate(filters)}
        self.owner = np.array([places.get(int(number), -1) for number in read])
        kernel = np.moveaxis(weights[reader.kernel].astype(np.float64), reader.axis, 0)
        self._rows = kernel.reshape(len(kernel), -1)
        squares = np.square(self._rows).sum(axis=1)
        covariance = moment.covariance if np.isfinite(squares).all() else None
        squares, variance = _finite(squares), _finite(moment.variance)
        ridge = RIDGE * max(float(variance.mean()), _LEAST)
        self._scale = 1.0 / max(float((variance * squares).sum()), _LEAST)
        if covariance is None:
            self._rows = np.sqrt(squares)[:, None]
            self._inverse = 1.0 / (variance + ridge)
        else:
            self._inverse = inverse(covariance + ridge * np.eye(len(squares)))

    def errors(self, count: int) -> np.ndarray:
        """For each of `count` filters, the share of the output's variance that it takes along."""
        mine = self.owner >= 0
        squares = np.square(self._rows[mine]).sum(axis=1)
        diagonal = self._inverse if self._inverse.ndim == 1 else np.diag(self._inverse)
        errors = self._scale * squares / diagonal[mine]
        summed: np.ndarray = np.bincount(self.owner[mine], weights=errors, minlength=count)
        return summed

    def remove(self, filter_: int) -> None:
        """Take the filter away; the others stand in for it, where any can."""
        if self._inverse.ndim == 1:
            stay = self.owner != filter_
            self._rows, self.owner = self._rows[stay], self.owner[stay]
            self._inverse = self._inverse[stay]
            return
        for position in np.flatnonzero(self.owner == filter_)[::-1]:
            column = self._inverse[:, position] / self._inverse[position, position]
            self._rows -= np.outer(column, self._rows[position])
            self._inverse -= np.outer(column, self._inverse[position])
            stay = np.arange(len(self.owner)) != position
            self._rows, self.owner = self._rows[stay], self.owner[stay]
            self._inverse = self._inverse[np.ix_(stay, stay)]
