"""Widths in, cost out: what the methods ask while they search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from adapt.cost.base import Amount, Cost, CostModel, Missing, Origin, counted
from adapt.cost.chain import Chain
from adapt.network.load import Network

__all__ = ["Pricer", "Wholes"]

# Counted from the network itself rather than from its kernels.
_COUNTED = frozenset({"params", "size", "memory"})


class Wholes(Protocol):
    """Knows what whole networks took on the device."""

    relative: bool
    """Whether latencies count as shares of the original's, measured beside them."""

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        """Of the network of `widths`, and of the original beside it; us. None if not measured."""
        ...


class Pricer:
    """Prices versions of one network in `resources`, by their widths.

    With `wholes`, it also tells what networks cost that were measured as a whole.
    """

    def __init__(
        self,
        network: Network,
        models: Iterable[CostModel],
        resources: Iterable[str],
        wholes: Wholes | None = None,
    ) -> None:
        """UsageError for a resource that neither the network nor any of `models` knows."""
        self._network = network
        self._wholes = wholes
        # A price stays what it is, and a search comes back to the same networks again and again.
        self._known: dict[tuple[int, ...], Cost] = {}
        wanted = frozenset(resources)
        self._chain = Chain(models, wanted - _COUNTED) if wanted - _COUNTED else None
        self._counted = wanted & _COUNTED

    def price(self, widths: Mapping[str, int]) -> Cost:
        """What the network needs at `widths`; raises Missing with the kernels to measure."""
        full = self._network.widths
        key = tuple(widths.get(name, width) for name, width in full.items())
        if key not in self._known:
            self._known[key] = self._found(widths)
        return self._known[key]

    def _found(self, widths: Mapping[str, int]) -> Cost:
        cost = Cost({})
        if self._chain is not None:
            cost = self._chain.price(self._network.kernels(widths))
        if self._counted:
            counts = self._network.counts(widths)
            cost = cost | counted({name: counts[name] for name in self._counted})
        return cost

    @property
    def measurable(self) -> frozenset[str]:
        """The resources that `measured` has of the device."""
        latency = frozenset({"latency"})
        priced = frozenset() if self._chain is None else self._chain.resources
        return frozenset() if self._wholes is None else latency & priced

    def measured(self, widths: Mapping[str, int]) -> Cost:
        """`price`, with what the whole network showed on the device in place of sums of kernels.

        Raises Missing where it was not measured. Where only its share of the original counts,
        latency is that share of the original's price, so that a slower hour changes nothing.
        """
        cost = self.price(widths)
        if self._wholes is None or not self.measurable:
            return cost
        found = self._wholes.latency(widths)
        if found is None:
            raise Missing(wholes=[widths])
        latency, original = found
        if self._wholes.relative:
            latency *= self.price({})["latency"].value / original
        return cost | {"latency": Amount.of(Origin.MEASURED, latency)}
