"""From words moved to energy, in the unit of one MAC of the hardware's word width.

Zeros: a MAC and its accesses of scratchpads are skipped where an operand is zero; in DRAM, and
weights also in the array, data is encoded; in the buffer, ifmaps and partial sums are dense.
Bits: a MAC costs in proportion to the product of its operands' bits, moving data in proportion to
its own. A value takes a word of room however few bits it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapt.cost.eyeriss.encoding import ENCODINGS, encoded_share
from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import Layer
from adapt.cost.eyeriss.traffic import Traffic
from adapt.errors import UsageError

__all__ = ["COMPUTATION", "Settings", "energies", "moved_share"]

# Key of the multiply-accumulates themselves, beside those of `traffic`.
COMPUTATION = ("mac", "computation")

MAX_BATCH = 4096


@dataclass(frozen=True)
class Settings:
    """How a network is run: images at a time, the policy of mappings, the encoding in DRAM."""

    batch: int = 1
    policy: str = "optimal"
    encoding: str = "run-length"

    def __post_init__(self) -> None:
        """UsageError where a value is out of range."""
        if not 1 <= self.batch <= MAX_BATCH:
            raise UsageError(f"a batch of {self.batch} images", f"Valid: 1 to {MAX_BATCH}.")
        if self.encoding not in ENCODINGS:
            raise UsageError(f"no encoding {self.encoding!r}", f"Valid: {', '.join(ENCODINGS)}.")


def energies(
    layer: Layer, hardware: Hardware, settings: Settings, moved: Traffic
) -> dict[tuple[str, str], Any]:
    """Energy by (level, data type), and of COMPUTATION, of one group of `layer`.

    `moved` is its traffic without zeros for the settings' batch.
    """
    spent = {
        (level, data): words
        * moved_share(layer, settings, level, data)
        * getattr(layer, data).bits
        / hardware.word_bits
        * hardware.access_cost(level)
        for (level, data), words in moved.items()
    }
    bits = layer.weight.bits * layer.ifmap.bits / hardware.word_bits**2
    spent[COMPUTATION] = settings.batch * layer.macs * useful_macs(layer) * bits
    return spent


def useful_macs(layer: Layer) -> float:
    """Share of MACs that are not skipped, zeros of both operands standing independently."""
    return layer.ifmap.density * layer.weight.density


def moved_share(layer: Layer, settings: Settings, level: str, data: str) -> float:
    """Share of the dense traffic that is left with the layer's zeros."""
    if level == "scratchpad":
        return useful_macs(layer)
    if level == "dram" or (level == "array" and data == "weight"):
        return encoded_share(settings.encoding, getattr(layer, data))
    return 1.0
