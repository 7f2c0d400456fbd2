"""The Eyeriss model as a cost model: energy and time of networks with no device and no table."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.cost.base import Amount, Cost, Origin
from adapt.cost.eyeriss.energy import Settings
from adapt.cost.eyeriss.estimate import estimate_layer
from adapt.cost.eyeriss.hardware import DEFAULT_HARDWARE, Hardware, load_hardware
from adapt.cost.eyeriss.kernels import is_counted, is_uncounted_work, kernel_layer
from adapt.errors import UsageError
from lookup_tables.kernel import Kernel

__all__ = ["EyerissCost"]


class EyerissCost:
    """Energy and time of one inference on the accelerator; all of it `analytic`.

    Convolutions and dense layers alone are counted, without zeros, and layers are kept, so a
    network that differs from the last in one layer costs one search. Raises UsageError for kernels
    that multiply and add in ways that the model does not know.
    """

    resources: frozenset[str] = frozenset({"latency", "energy"})

    def __init__(self, hardware: Hardware | None = None, settings: Settings | None = None) -> None:
        """Without `hardware`, the chip; it must know its picojoules of a MAC."""
        self._hardware = hardware or load_hardware(DEFAULT_HARDWARE)
        self._settings = settings or Settings()
        if self._hardware.pj_per_mac is None:
            raise ValueError("hardware without pj_per_mac")
        self._uj_per_mac = self._hardware.pj_per_mac * 1e-6

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Microseconds and microjoules of the network."""
        parts = self.price_each(kernels)
        return Cost({name: Amount.total(part[name] for part in parts) for name in self.resources})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Microseconds and microjoules of each kernel."""
        return [self._cost(kernel) for kernel in kernels]

    def _cost(self, kernel: Kernel) -> Cost:
        if is_uncounted_work(kernel):
            raise UsageError(
                f"the Eyeriss model does not know how {kernel.op} is mapped",
                "It prices networks of convolutions and dense layers; budget macs, or latency on a"
                " device.",
            )
        latency_us = energy_uj = 0.0
        if is_counted(kernel):
            # One name for all, so that equal layers are looked up as such.
            layer = kernel_layer(kernel, kernel.op)
            found = estimate_layer(layer, self._hardware, self._settings)
            latency_us, energy_uj = found.latency_us, found.total * self._uj_per_mac
        return Cost(
            {
                "latency": Amount.of(Origin.ANALYTIC, latency_us),
                "energy": Amount.of(Origin.ANALYTIC, energy_uj),
            }
        )
