"""Which widths are worth proposing."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["nondominated"]

# Costs this near to each other, as a share, are one cost: tables repeat to about as much.
_NOISE = 0.002


def nondominated(costs: Mapping[int, float], noise: float = _NOISE) -> list[int]:
    """Those of the widths of a group, ascending, that no wider one matches in cost.

    `costs` are those of the whole network at each width, so that all kernels count that the group
    touches; a wider one that stays matches a cost within `noise` of its own.
    """
    kept: list[int] = []
    least = float("inf")
    for width in sorted(costs, reverse=True):
        if costs[width] < least * (1 - noise):
            kept.append(width)
            least = costs[width]
    return kept[::-1]
