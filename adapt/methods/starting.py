"""How the methods begin that start from the unshrunk network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from adapt.cost.base import Cost
from adapt.cost.pricer import Pricer
from adapt.methods.base import Bench, State, begun, full_keep, meets, unreachable
from adapt.methods.widths import narrowed
from adapt.network.load import Network

__all__ = ["begun_unshrunk", "cheapest"]

# Levels of all groups at which a network is looked for that meets the budget, of some 16.
_NARROW = (0, 1, 3, 7)


def begun_unshrunk(bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
    """The unshrunk network as first state.

    Raises BudgetUnreachable where no network will do, as far as can be told.
    """
    found = []
    for cost in _narrow_costs(bench.pricer, bench.network):
        found.append(cost)
        if meets(cost, limits):
            return begun(bench, limits, original, (0, ""), full_keep(bench.network), original)
    raise unreachable(min(found, key=lambda cost: _excess(cost, limits)), limits)


def cheapest(pricer: Pricer, network: Network, names: Iterable[str]) -> Cost:
    """The least that any network needs of the resources `names`, as far as can be told.

    Of several it is the least sum of shares of the original's.
    """
    names, original = list(names), pricer.price(network.widths)

    def shares(cost: Cost) -> float:
        return sum(cost[name].value / original[name].value for name in names)

    return min(_narrow_costs(pricer, network), key=shares)


def _narrow_costs(pricer: Pricer, network: Network) -> Iterator[Cost]:
    """What the narrowest networks need.

    The very narrowest mostly is the cheapest, but for kernels that take longer with few channels
    than with more, as some of int8 do: then others with all groups at one part of their width are.
    """
    for number in _NARROW:
        yield pricer.price(narrowed(network.groups.groups, number))


def _excess(cost: Cost, limits: Mapping[str, float]) -> float:
    return max(cost[name].value / limit for name, limit in limits.items())
