"""Importance by the weights alone: how large a filter is, and how different from the others."""

from __future__ import annotations

import numpy as np

from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights
from adapt.training.algebra import product

__all__ = ["distances", "magnitudes"]


def magnitudes(weights: Weights, groups: ChannelGroups, keep: Keep) -> np.ndarray:
    """L2 norm of each filter, float64 [filters of the unshrunk network], 0 for removed ones.

    `weights` are those of the network with the filters `keep`. A filter that several layers make
    (a residual addition) has the norm of all its slices together (Yang et al., ECCV 2018, 3.2).
    """
    kept = groups.kept(keep)
    squares = np.zeros(len(groups.frozen))
    for use in groups.uses:
        if use.produces:
            value = weights[use.variable].astype(np.float64)
            others = tuple(axis for axis in range(value.ndim) if axis != use.axis)
            np.add.at(squares, use.filters[kept[use.filters]], np.square(value).sum(axis=others))
    return np.sqrt(squares)


def distances(weights: Weights, groups: ChannelGroups, keep: Keep) -> np.ndarray:
    """Sum of the distances of each filter from the others of its group; form as `magnitudes`.

    A filter near to the middle of all is one that the others can stand for (He et al., CVPR 2019:
    filter pruning by the geometric median).
    """
    kept = groups.kept(keep)
    found = np.zeros(len(groups.frozen))
    for group in groups.groups:
        filters = group.filters[kept[group.filters]]
        squares = np.zeros((len(filters), len(filters)))
        for use in groups.uses:
            if use.produces:
                present = use.filters[kept[use.filters]]
                slices = np.moveaxis(weights[use.variable].astype(np.float64), use.axis, 0)
                squares += _squares(slices, present, filters)
        found[filters] = np.sqrt(squares).sum(axis=1)
    return found


def _squares(slices: np.ndarray, present: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Squared distances between `filters`; `slices[p]` is a part of filter `present[p]`."""
    places = np.flatnonzero(np.isin(present, filters))
    if len(places) == 0:
        return np.zeros((len(filters), len(filters)))
    # A filter may have several slices, as many as any other of its group.
    places = places[np.argsort(present[places], kind="stable")]
    rows = slices[places].reshape(len(filters), -1)
    norms = np.square(rows).sum(axis=1)
    squares: np.ndarray = norms[:, None] + norms[None, :] - 2 * product(rows, rows.T)
    np.maximum(squares, 0.0, out=squares)
    return squares
