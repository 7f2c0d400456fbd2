"""Which filters to keep: those of the largest magnitude (Yang et al., ECCV 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights

__all__ = ["magnitudes", "strongest"]


def magnitudes(weights: Weights, groups: ChannelGroups, keep: Keep) -> np.ndarray:
    """L2 norm of each filter, float64 [filters of the unshrunk network], 0 for removed ones.

    `weights` are those of the network with the filters `keep`. A filter that several layers make
    (a residual addition) has the norm of all its slices together.
    """
    kept = groups.kept(keep)
    squares = np.zeros(len(groups.frozen))
    for use in groups.uses:
        if use.produces:
            value = weights[use.variable].astype(np.float64)
            others = tuple(axis for axis in range(value.ndim) if axis != use.axis)
            np.add.at(squares, use.filters[kept[use.filters]], np.square(value).sum(axis=others))
    return np.sqrt(squares)


def strongest(importance: np.ndarray, kept: Mapping[str, list[int]], name: str, width: int,
              groups: ChannelGroups) -> list[int]:  # fmt: skip
    """The `width` most important of the positions of group `name` that are still kept, ascending.

    Of equally important filters the first stay, so that the choice is the same on every machine.
    """
    positions = np.asarray(kept[name])
    values = importance[groups.groups[groups.index[name]].filters[positions]]
    best = np.argsort(-values, kind="stable")[:width]
    return sorted(int(p) for p in positions[best])
