"""The costs of one of several devices, under names of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from adapt.budget import RESOURCES, named
from adapt.cost.base import Cost, CostModel, Missing
from lookup_tables.kernel import Kernel

__all__ = ["Placed"]


class Placed:
    """What `model` says of the device that is called `device`, as a cost model.

    Prices the model's resources that differ from device to device, as "latency@pixel-6"; Missing
    says on which device something lacks.
    """

    def __init__(self, model: CostModel, device: str) -> None:
        self._model, self._device = model, device

    @property
    def resources(self) -> frozenset[str]:
        """The names of what it prices."""
        own = (name for name in self._model.resources if RESOURCES[name].on_device)
        return frozenset(named(resource, self._device) for resource in own)

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """What the model says, under the device's names."""
        with self._lacking():
            return self._placed(self._model.price(kernels))

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """What the model says of each, under the device's names."""
        with self._lacking():
            return [self._placed(cost) for cost in self._model.price_each(kernels)]

    def _placed(self, cost: Cost) -> Cost:
        own = {name: amount for name, amount in cost.items() if RESOURCES[name].on_device}
        return Cost({named(name, self._device): amount for name, amount in own.items()})

    @contextmanager
    def _lacking(self) -> Iterator[None]:
        try:
            yield
        except Missing as lack:
            raise Missing(on={self._device: lack}) from None
