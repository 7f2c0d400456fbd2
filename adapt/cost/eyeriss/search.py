"""The cheapest legal mapping of a layer.

The search is exact, and skips only what cannot be better:

  * Of all sizes that make the same number of parts, only the smallest is tried; p and t, larger
    values of which never cost more, are as large as fits.
  * m decides nothing but the movement of the ifmap. A bound without m, from ifmaps read as seldom
    as any m allows, puts the remaining parameters in order, and ends the search early.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.cost.eyeriss.energy import Settings, energies
from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import Layer
from adapt.cost.eyeriss.mapping import (
    Cut,
    Mapping,
    ceil_div,
    legal,
    most_filters_held,
    most_sets,
    strip_rows,
)
from adapt.cost.eyeriss.traffic import Movement, traffic
from adapt.errors import InputError

__all__ = ["Integers", "cheapest", "sizes"]

Integers = npt.NDArray[np.int64]

# Mappings but for m that are tried together: enough for numpy, few enough for the cache.
_BLOCK = 64

# Mappings but for m of one layer. Large networks in large batches have some ten thousand; this
# many take a second and 200 MB.
MAX_PLACES = 1_000_000


def cheapest(
    layer: Layer,
    hardware: Hardware,
    settings: Settings,
    movement: Movement,
    images: Integers,
    rows: Integers,
    *,
    split: bool = True,
) -> Mapping | None:
    """The mapping of least energy of one group of `layer` with n of `images` and e of `rows`.

    Where `split` is False, m is all filters. Of equally cheap ones the first found; None where
    nothing is legal.
    """
    places = _places(layer, hardware, images, rows)
    if not split:
        places = replace(places, m=np.full_like(places.n, layer.filters))
        return _best(layer, hardware, settings, movement, places)[1]
    most = _most_filters(layer, hardware, places)
    places = Mapping(*(values[most >= 1] for values in vars(places).values()))
    bound = _bound(layer, hardware, settings, movement, places, most[most >= 1])
    order = np.argsort(bound, kind="stable")
    least, found = np.inf, None
    for start in range(0, len(order), _BLOCK):
        chosen = order[start : start + _BLOCK]
        if bound[chosen[0]] > least:
            break
        block = Mapping(*(values[chosen, None] for values in vars(places).values()))
        lots = _lots(layer.filters, _most_filters(layer, hardware, block), block)
        p = np.minimum(block.p, lots)
        block = replace(block, m=lots, p=p, t=np.minimum(block.t, ceil_div(lots, p)))
        energy, mapping = _best(layer, hardware, settings, movement, block)
        if energy < least:
            least, found = energy, mapping
    return found


def sizes(whole: int) -> Integers:
    """The smallest part for each number of parts into which `whole` can fall, ascending."""
    some = np.arange(1, int(np.sqrt(whole)) + 2)
    numbers = np.unique(ceil_div(whole, np.concatenate([some, ceil_div(whole, some)])))
    return np.unique(ceil_div(whole, numbers))


def _places(layer: Layer, hardware: Hardware, images: Integers, rows: Integers) -> Mapping:
    """All that is worth trying but for m, which is all filters, in one flat list."""
    cut = Cut.of(layer, hardware)
    pieces = layer.channels * cut.across
    pairs = [
        (q, r)
        for q in sizes(pieces).tolist()
        if most_filters_held(layer, hardware, q) >= 1
        for r in sizes(ceil_div(pieces, q) * cut.down).tolist()
        if r <= hardware.rows // cut.height
    ]
    count = len(images) * len(rows) * len(pairs)
    if count > MAX_PLACES:
        raise InputError(
            f"layer {layer.name} has {count} mappings to choose from",
            f"Valid: up to {MAX_PLACES}. Estimate a smaller batch, layer or accelerator.",
        )
    q, r = np.array(pairs, np.int64).reshape(-1, 2).T
    n, e, q, r = (axis.ravel() for axis in _product(images, rows, q, r))
    p = np.minimum(most_filters_held(layer, hardware, q), layer.filters)
    t = np.minimum(most_sets(layer, hardware, e, r), ceil_div(layer.filters, p))
    places = Mapping(np.full_like(n, layer.filters), n, e, p, q, r, t)
    return Mapping(*(values[t >= 1] for values in vars(places).values()))


def _product(images: Integers, rows: Integers, q: Integers, r: Integers) -> tuple[Any, ...]:
    """Every image number with every strip with every pair of q and r."""
    n, e, pair = np.meshgrid(images, rows, np.arange(len(q)), indexing="ij")
    return n, e, q[pair], r[pair]


def _most_filters(layer: Layer, hardware: Hardware, places: Mapping) -> Any:
    """The largest m for which the buffer has room beside the ifmaps."""
    ifmaps = places.q * places.r * strip_rows(layer, places.e) * layer.width
    most = (hardware.buffer_words // places.n - ifmaps) // (places.e * layer.out_width)
    return np.minimum(most, layer.filters)


def _bound(
    layer: Layer,
    hardware: Hardware,
    settings: Settings,
    movement: Movement,
    places: Mapping,
    most: Any,
) -> Any:
    """Energy that `places` cannot fall below with m up to `most`.

    With m all filters no pass and no delivery is wasted, and each value is loaded once; it is
    loaded for every lot, and may pass the buffer by.
    """
    spent = energies(
        layer, hardware, settings, traffic(layer, hardware, places, settings.batch, movement)
    )
    spent["buffer", "ifmap"] = 0
    spent["dram", "ifmap"] = spent["dram", "ifmap"] * ceil_div(layer.filters, most)
    # A little less, since sums of the same terms in another order differ in their last digits.
    return sum(spent.values()) * (1 - 1e-12)


def _best(
    layer: Layer, hardware: Hardware, settings: Settings, movement: Movement, candidates: Mapping
) -> tuple[float, Mapping | None]:
    """The legal candidate of least energy, and that energy."""
    fits = legal(layer, hardware, candidates, settings.batch)
    if not fits.any():
        return np.inf, None
    moved = traffic(layer, hardware, candidates, settings.batch, movement)
    total = np.where(fits, sum(energies(layer, hardware, settings, moved).values()), np.inf)
    best = np.unravel_index(int(np.argmin(total)), total.shape)
    values = (np.broadcast_to(each, total.shape)[best] for each in vars(candidates).values())
    return float(total[best]), Mapping(*map(int, values))


def _lots(filters: int, most: Any, places: Mapping) -> Any:
    """Values of m along the last axis; more than there are filters, so not legal, where none fits.

    The number of lots says how often the ifmap is read from DRAM. For each number, m is the
    largest that fits; or the largest multiple of p t, which wastes no pass; or of p, which wastes
    no delivery to an element. Nothing else can be better for that number.
    """
    least = sizes(filters)
    lots = ceil_div(filters, least)
    largest = np.where(lots > 1, ceil_div(filters, np.maximum(lots - 1, 1)) - 1, filters)
    largest = np.minimum(largest, most)
    lot = places.p * places.t
    options = [largest, largest // lot * lot, largest // places.p * places.p]
    return np.concatenate([np.where(m >= least, m, filters + 1) for m in options], axis=-1)
