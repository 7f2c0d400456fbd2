"""Row-stationary mappings: how a layer is cut up in time and space, and which cuts are legal.

A set of processing elements computes one-dimensional convolutions: a row of a filter meets a row
of the input in each element, `kernel_height` elements above one another add up a row of the
output, and neighbouring columns hold neighbouring rows of the output (Chen et al., ISCA 2016).
Names of the parameters are those of the papers:

    m  filters whose partial sums share the buffer       n  images processed together
    e  rows of the output that a set computes: a strip   p  filters that each element holds
    q  channels that each element holds                  r  sets that add up different channels
    t  sets that compute different filters

Every function takes numbers or arrays of them that broadcast against each other, and all counts
are of one group of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import Layer

__all__ = ["Array", "Cut", "Mapping", "ceil_div", "legal", "most_filters_held", "most_sets"]

# Numbers, or arrays that broadcast against each other.
Array = npt.NDArray[Any] | int | float


@dataclass(frozen=True)
class Mapping:
    """One way to compute a layer, in the parameters of this module."""

    m: Any
    n: Any
    e: Any
    p: Any
    q: Any
    r: Any
    t: Any

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in vars(self).items())


@dataclass(frozen=True)
class Cut:
    """The rows and columns of a filter as the elements hold them.

    A filter higher than the array, or wider than an element's scratchpads, is cut into equal
    pieces that are treated as more channels.

    Attributes:
        height, width: of a piece.
        across: pieces of one row.
        down: pieces of one column.
    """

    height: int
    width: int
    across: int
    down: int

    @classmethod
    def of(cls, layer: Layer, hardware: Hardware) -> Cut:
        """How the filters of `layer` are held."""
        widest = min(hardware.ifmap_words, hardware.weight_words)
        if hardware.shared_words is not None:  # Two rows, of ifmap and weights, and a partial sum.
            widest = min(widest, (hardware.shared_words - 1) // 2)
        across = ceil_div(layer.kernel_width, max(1, widest))
        down = ceil_div(layer.kernel_height, hardware.rows)
        return cls(
            height=ceil_div(layer.kernel_height, down),
            width=ceil_div(layer.kernel_width, across),
            across=across,
            down=down,
        )


def ceil_div(a: Any, b: Any) -> Any:
    """Quotient, rounded up."""
    return -(-a // b)


def strip_rows(layer: Layer, e: Any) -> Any:
    """Rows of the input that `e` rows of the output need."""
    return np.minimum((e - 1) * layer.stride_y + layer.extent_y, layer.height)


def buffer_words(layer: Layer, mapping: Mapping) -> Any:
    """Words that a mapping keeps in the buffer: ifmaps of a pass, and partial sums.

    Finished outputs leave through the buffer, so their room is needed in any case.
    """
    strip = strip_rows(layer, mapping.e) * layer.width
    psums = mapping.m * mapping.e * layer.out_width
    return mapping.n * (mapping.q * mapping.r * strip + psums)


def most_filters_held(layer: Layer, hardware: Hardware, q: Any) -> Any:
    """The largest p beside `q` channels; below 1 where they do not fit at all."""
    row = q * Cut.of(layer, hardware).width
    most = np.minimum(hardware.weight_words // row, hardware.psum_words)
    if hardware.shared_words is not None:  # p rows of weights and p sums beside one row of ifmap.
        most = np.minimum(most, (hardware.shared_words - row) // (row + 1))
    return np.where(row <= hardware.ifmap_words, most, 0)


def most_sets(layer: Layer, hardware: Hardware, e: Any, r: Any) -> Any:
    """The largest t; below 1 where not even one strip of `e` rows on `r` sets fits the array.

    Partial sums pass from an element to the one above it, so the r sets stand above one another.
    A strip wider than the array is folded into parts, which take the room of other sets.
    """
    folds = ceil_div(e, hardware.columns)
    beside = hardware.columns // ceil_div(e, folds)
    above = hardware.rows // Cut.of(layer, hardware).height // r
    return above * beside // folds


def legal(layer: Layer, hardware: Hardware, mapping: Mapping, images: int) -> Any:
    """Whether a mapping of one group of `layer`, or each of many, fits layer and hardware."""
    cut = Cut.of(layer, hardware)
    pieces = layer.channels * cut.across
    return (
        np.minimum.reduce(np.broadcast_arrays(*vars(mapping).values())).__ge__(1)
        & (mapping.n <= images)
        & (mapping.e <= layer.out_height)
        & (mapping.m <= layer.filters)
        & (mapping.p <= mapping.m)
        & (mapping.q <= pieces)
        & (mapping.r <= ceil_div(pieces, mapping.q) * cut.down)
        & (mapping.p <= most_filters_held(layer, hardware, mapping.q))
        & (mapping.t <= most_sets(layer, hardware, mapping.e, mapping.r))
        & (buffer_words(layer, mapping) <= hardware.buffer_words)
    )
