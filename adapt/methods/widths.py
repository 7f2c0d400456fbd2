"""Which widths a group may take, and which of them are worth proposing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapt.network.groups import Group

__all__ = ["label", "levels", "narrowed", "nondominated"]

# Widths that a group may take: this many to twice as many, evenly spaced. Fewer than all, since
# each costs measurements and the device steps by tiles anyway.
_LEVELS = 16

# Costs this near to each other, as a share, are one cost: tables repeat to about as much.
_NOISE = 0.002

# Groups that are named where a proposal narrows several at once.
_NAMED = 2


def label(widths: Mapping[str, int]) -> str:
    """Which groups were narrowed, in a few words."""
    names = list(widths)
    return " + ".join(names) if len(names) <= _NAMED else f"{len(names)} groups"


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


def levels(group: Group) -> list[int]:
    """The widths that `group` may take, ascending, its full width last."""
    step = max(1, group.width // _LEVELS)
    return sorted({*range(max(step, group.least), group.width, step), group.width})


def narrowed(groups: Iterable[Group], number: int) -> dict[str, int]:
    """Every group at its level `number`, counted from the narrowest."""
    found = {}
    for group in groups:
        each = levels(group)
        found[group.name] = each[min(number, len(each) - 1)]
    return found
