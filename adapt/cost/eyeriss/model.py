"""The Eyeriss model as a cost model: energy of networks with no device and no table."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.cost.base import Amount, Cost, Origin
from adapt.cost.eyeriss.energy import Settings
from adapt.cost.eyeriss.estimate import estimate_layer
from adapt.cost.eyeriss.hardware import DEFAULT_HARDWARE, Hardware, load_hardware
from adapt.cost.eyeriss.kernels import is_counted, is_uncounted_work, kernel_layer
from adapt.errors import UsageError
from lookup_tables.kernel import Kernel

__all__ = ["EyerissEnergy"]


class EyerissEnergy:
    """Energy of one inference on the accelerator; all of it `analytic`.

    Convolutions and dense layers alone are counted, without zeros, and layers are kept, so a
    network that differs from the last in one layer costs one search. Raises UsageError for kernels
    that multiply and add in ways that the model does not know.
    """

    resources: frozenset[str] = frozenset({"energy"})

    def __init__(self, hardware: Hardware | None = None, settings: Settings | None = None) -> None:
        """Without `hardware`, the chip; it must know its picojoules of a MAC."""
        self._hardware = hardware or load_hardware(DEFAULT_HARDWARE)
        self._settings = settings or Settings()
        if self._hardware.pj_per_mac is None:
            raise ValueError("hardware without pj_per_mac")
        self._uj_per_mac = self._hardware.pj_per_mac * 1e-6

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Microjoules of the network."""
        return Cost({"energy": Amount.total(self._amount(kernel) for kernel in kernels)})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Microjoules of each kernel."""
        return [Cost({"energy": self._amount(kernel)}) for kernel in kernels]

    def _amount(self, kernel: Kernel) -> Amount:
        if is_uncounted_work(kernel):
            raise UsageError(
                f"the Eyeriss model does not know how {kernel.op} is mapped",
                "It prices networks of convolutions and dense layers; budget macs or latency.",
            )
        energy = 0.0
        if is_counted(kernel):
            # One name for all, so that equal layers are looked up as such.
            layer = kernel_layer(kernel, kernel.op)
            energy = estimate_layer(layer, self._hardware, self._settings).total
        return Amount.of(Origin.ANALYTIC, energy * self._uj_per_mac)
