"""How often a mapping touches each level of the memory, by data type.

After Chen et al., ISCA 2016, section VI: a value that is used a, b, c and d times at DRAM, buffer,
array and scratchpad is read a times from DRAM, ab times from the buffer, passed abc times through
the array and read abcd times from scratchpads; a partial sum is moved (2a-1), 2a(b-1), ab(c-1) and
2abc(d-1) times. A move between two levels is charged to the dearer one, and a buffer that nothing
is used from twice is passed by.
"""

from __future__ import annotations

from collections.abc import Mapping as Table
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import Layer
from adapt.cost.eyeriss.mapping import Cut, Mapping, ceil_div

__all__ = ["LEVELS", "Movement", "Traffic", "input_moves", "psum_moves", "traffic"]

LEVELS = ("dram", "buffer", "array", "scratchpad")

# Words moved, or an array of them, by (level, data type).
Traffic = Table[tuple[str, str], Any]


@dataclass(frozen=True)
class Movement:
    """What a policy assumes of the hardware beyond the rules above.

    Attributes:
        stages_weights: weights of convolutions are written to the buffer and read again for every
            tile of outputs as wide and as high as the array has columns.
        psums_cross_array: a partial sum on its way to the buffer or back passes the array.
        counts_first: the first product of a sum is added to a stored zero.
    """

    stages_weights: bool = False
    psums_cross_array: bool = False
    counts_first: bool = False


def input_moves(a: float, b: float, c: float, d: float) -> dict[str, float]:
    """Accesses of each level by one ifmap value or weight with these reuses."""
    return {
        "dram": a,
        "buffer": a * b if b > 1 else 0,
        "array": a * b * c,
        "scratchpad": a * b * c * d,
    }


def psum_moves(a: float, b: float, c: float, d: float) -> dict[str, float]:
    """Accesses of each level by one output value whose products are added up in these shares."""
    return {
        "dram": 2 * a - 1,
        "buffer": 2 * a * (b - 1),
        "array": a * b * (c - 1),
        "scratchpad": 2 * a * b * c * (d - 1),
    }


def traffic(
    layer: Layer, hardware: Hardware, mapping: Mapping, images: int, movement: Movement
) -> Traffic:
    """Words that one group of `layer`, without zeros, moves for `images`; sizes may not divide.

    The averages behind are exact: each count is that of all chunks, the last of which are smaller.
    """
    m, n, e, p, q, r, t = vars(mapping).values()
    cut = Cut.of(layer, hardware)
    # Pieces of filter rows that an element adds up without passing anything on, for one row of a
    # filter; and the parts into which the sums of an output are cut in time.
    pieces = ceil_div(layer.channels * cut.across, q)
    parts = ceil_div(pieces * cut.down, r)
    row_sums = pieces * layer.kernel_height
    chunks = ceil_div(images, n)
    strips = ceil_div(layer.out_height, e)
    outputs = images * layer.outputs
    macs = images * layer.macs

    # Rows at the edges of strips are read for both.
    strip_rows = layer.stride_y * (layer.out_height - strips) + layer.extent_y * strips
    overlap = np.maximum(strip_rows / layer.height, 1.0)
    ifmaps = images * layer.inputs * overlap
    loads = ceil_div(layer.filters, m)
    passes = _chunks_of_parts(layer.filters, m, p * t)
    # Each row of outputs has its rows of the input delivered, once for each set of p filters.
    deliveries = (
        images * layer.channels * layer.out_height * layer.kernel_height * layer.width
    ) * _chunks_of_parts(layer.filters, m, p)

    staged: Any = 0
    if movement.stages_weights and layer.out_height * layer.out_width > 1:
        tiles = ceil_div(layer.out_height, hardware.columns) * ceil_div(
            layer.out_width, hardware.columns
        )
        staged = 2 * layer.weights * tiles * chunks
    spilled = 2 * outputs * (parts - 1)
    firsts = 0 if movement.counts_first else outputs * row_sums
    return {
        ("dram", "ifmap"): ifmaps * loads,
        ("dram", "ofmap"): outputs,
        ("dram", "weight"): layer.weights * chunks * strips,
        ("buffer", "ifmap"): np.where(passes > loads, ifmaps * passes, 0),
        ("buffer", "ofmap"): spilled,
        ("buffer", "weight"): staged,
        ("array", "ifmap"): deliveries,
        ("array", "ofmap"): outputs * (row_sums - parts)
        + (spilled if movement.psums_cross_array else 0),
        ("array", "weight"): layer.weights * chunks * layer.out_height,
        ("scratchpad", "ifmap"): macs,
        ("scratchpad", "ofmap"): 2 * (macs - firsts),
        ("scratchpad", "weight"): macs,
    }


def _chunks_of_parts(size: Any, part: Any, chunk: Any) -> Any:
    """Chunks into which `size` falls that is first cut into parts, the last of each smaller."""
    whole = size // part
    return whole * ceil_div(part, chunk) + ceil_div(size - whole * part, chunk)
