"""How the methods begin that start from the unshrunk network."""

from __future__ import annotations

from collections.abc import Mapping

from adapt.cost.base import Cost
from adapt.methods.base import Bench, State, begun, full_keep, meets, unreachable
from adapt.methods.widths import narrowed

__all__ = ["begun_unshrunk"]

# Levels of all groups at which a network is looked for that meets the budget, of some 16.
_NARROW = (0, 1, 3, 7)


def begun_unshrunk(bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
    """The unshrunk network as first state.

    Raises BudgetUnreachable where no network will do, as far as can be told. The narrowest is the
    cheapest but for kernels that take longer with few channels than with more, as some of int8 do:
    then others with all groups at one part of their width decide.
    """
    found = []
    for number in _NARROW:
        found.append(bench.pricer.price(narrowed(bench.network.groups.groups, number)))
        if meets(found[-1], limits):
            return begun(bench, limits, original, (0, ""), full_keep(bench.network), original)
    raise unreachable(min(found, key=lambda cost: _excess(cost, limits)), limits)


def _excess(cost: Cost, limits: Mapping[str, float]) -> float:
    return max(cost[name].value / limit for name, limit in limits.items())
