"""What a kernel has to do, as the numbers that its time and its energy follow from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from adapt.cost.eyeriss.energy import Settings
from adapt.cost.eyeriss.estimate import LayerEstimate, estimate_layer
from adapt.cost.eyeriss.hardware import DEFAULT_HARDWARE, load_hardware
from adapt.cost.eyeriss.kernels import is_counted, kernel_layer
from adapt.errors import InputError
from adapt.tflite.quantities import activation_bytes, macs, tensor_bytes, weight_bytes
from lookup_tables.kernel import Kernel

__all__ = ["Work", "work_of"]

# Kernels that are kept: those of a table, and those of some large networks.
_KEPT = 1 << 14


@dataclass(frozen=True, slots=True)
class Work:
    """One kernel.

    Attributes:
        macs: multiply-accumulates; 0 for most operators.
        weights, activations, results: bytes of weights, of data in and out, and of data out.
        energy_of_mac: what the Eyeriss model says that a MAC and the movements of its operands
            take, in energies of one MAC alone: how much a layer uses its data again. 1 for
            operators that it does not count.
        cycles_of_mac: cycles of its array for a MAC, likewise: how badly a layer fills the array.
    """

    macs: int
    weights: int
    activations: int
    results: int
    energy_of_mac: float
    cycles_of_mac: float


@lru_cache(maxsize=_KEPT)
def work_of(kernel: Kernel) -> Work:
    """The work of `kernel`."""
    count = macs(kernel)
    energy = cycles = 1.0
    if (estimate := _on_eyeriss(kernel)) is not None:
        energy = estimate.total / count
        cycles = estimate.compute_cycles / count
    return Work(
        macs=count,
        weights=weight_bytes(kernel),
        activations=activation_bytes(kernel),
        results=sum(map(tensor_bytes, kernel.outputs)),
        energy_of_mac=energy,
        cycles_of_mac=cycles,
    )


def _on_eyeriss(kernel: Kernel) -> LayerEstimate | None:
    """The layer on the chip; None where it is none, as in a damaged file."""
    if not is_counted(kernel):
        return None
    try:
        layer = kernel_layer(kernel, kernel.op)
    except InputError:
        return None
    return estimate_layer(layer, load_hardware(DEFAULT_HARDWARE), Settings())
