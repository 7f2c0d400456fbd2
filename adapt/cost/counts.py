"""Costs that follow from the shapes of kernels alone."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.cost.base import Cost, counted
from adapt.tflite.quantities import macs
from lookup_tables.kernel import Kernel

__all__ = ["MacCount"]


class MacCount:
    """Multiply-accumulates, exactly, on any platform."""

    resources: frozenset[str] = frozenset({"macs"})

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """MACs of the network."""
        return counted({"macs": sum(map(macs, kernels))})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """MACs of each kernel."""
        return [counted({"macs": macs(kernel)}) for kernel in kernels]
