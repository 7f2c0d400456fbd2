"""Widths in, cost out: what the methods ask while they search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from adapt.budget import device_of
from adapt.cost.base import Amount, Cost, CostModel, Missing, Origin, counted
from adapt.cost.chain import Chain
from adapt.network.load import Network

__all__ = ["Pricer", "Wholes"]

# Counted from the network itself rather than from its kernels.
_COUNTED = frozenset({"params", "size", "memory"})


class Wholes(Protocol):
    """Knows what whole networks took on a device."""

    relative: bool
    """Whether latencies count as shares of the original's, measured beside them."""

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        """Of the network of `widths`, and of the original beside it; us. None if not measured."""
        ...


class Pricer:
    """Prices versions of one network in `resources`, by their widths.

    With `wholes`, it also tells what networks cost that were measured as a whole: by the name of
    the latency that each of them knows.
    """

    def __init__(
        self,
        network: Network,
        models: Iterable[CostModel],
        resources: Iterable[str],
        wholes: Mapping[str, Wholes] | None = None,
    ) -> None:
        """UsageError for a resource that neither the network nor any of `models` knows."""
        self._network = network
        self._wholes = dict(wholes or {})
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
        """The resources that `measured` has of devices."""
        priced = frozenset[str]() if self._chain is None else self._chain.resources
        return priced & self._wholes.keys()

    def measured(self, widths: Mapping[str, int]) -> Cost:
        """`price`, with what the whole network showed on devices in place of sums of kernels.

        Raises Missing where it was not measured. Where only its share of the original counts,
        latency is that share of the original's price, so that a slower hour changes nothing.
        """
        cost = self.price(widths)
        lacks: list[Missing] = []
        for name in sorted(self.measurable):
            found = self._wholes[name].latency(widths)
            if found is not None:
                cost |= {name: Amount.of(Origin.MEASURED, self._comparable(name, *found))}
                continue
            lack, device = Missing(wholes=[widths]), device_of(name)
            lacks.append(Missing(on={device: lack}) if device else lack)
        if lacks:
            raise Missing.together(lacks)
        return cost

    def _comparable(self, name: str, latency: float, original: float) -> float:
        """A latency, measured beside the original, to be held against limits, us."""
        if not self._wholes[name].relative:
            return latency
        return latency * (self.price({})[name].value / original)
