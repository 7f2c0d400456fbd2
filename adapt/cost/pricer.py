"""Widths in, cost out: what the methods ask while they search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapt.cost.base import Cost, CostModel, counted
from adapt.cost.chain import Chain
from adapt.network.load import Network

__all__ = ["Pricer"]

# Counted from the network itself rather than from its kernels.
_COUNTED = frozenset({"params", "size", "memory"})


class Pricer:
    """Prices versions of one network in `resources`, by their widths."""

    def __init__(
        self, network: Network, models: Iterable[CostModel], resources: Iterable[str]
    ) -> None:
        """UsageError for a resource that neither the network nor any of `models` knows."""
        self._network = network
        wanted = frozenset(resources)
        self._chain = Chain(models, wanted - _COUNTED) if wanted - _COUNTED else None
        self._counted = wanted & _COUNTED

    def price(self, widths: Mapping[str, int]) -> Cost:
        """What the network needs at `widths`; raises Missing with the kernels to measure."""
        cost = Cost({})
        if self._chain is not None:
            cost = self._chain.price(self._network.kernels(widths))
        if self._counted:
            counts = self._network.counts(widths)
            cost = cost | counted({name: counts[name] for name in self._counted})
        return cost
