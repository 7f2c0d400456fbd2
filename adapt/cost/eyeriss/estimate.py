"""What layers and networks cost on the accelerator: energy, time and the use of its elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from functools import lru_cache

from adapt.cost.eyeriss.energy import Settings, energies, useful_macs
from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import DATA, Layer
from adapt.cost.eyeriss.mapping import Cut, Mapping, ceil_div
from adapt.cost.eyeriss.policies import POLICIES, best_mapping
from adapt.cost.eyeriss.traffic import traffic
from adapt.errors import UsageError

__all__ = ["LayerEstimate", "NetworkEstimate", "estimate", "estimate_layer"]

# Layers that are kept. A proposal of a search changes few layers of some hundreds.
_KEPT = 1 << 14


@dataclass(frozen=True)
class LayerEstimate:
    """One layer, all groups, for one image; totals of a batch divided by its images.

    Attributes:
        layer: what was estimated.
        mapping: of each group.
        words: moved by (level, data type), dense and before encoding.
        energy: by (level, data type) and COMPUTATION, in MACs.
        macs: multiply-accumulates that are not skipped.
        elements: processing elements at work in a full pass.
        compute_cycles: time of the array, zeros included: gating saves energy, not time.
        latency_us: the longer of computing and moving data from and to DRAM.
    """

    layer: Layer
    mapping: Mapping
    words: Table[tuple[str, str], float]
    energy: Table[tuple[str, str], float]
    macs: float
    elements: int
    compute_cycles: float
    latency_us: float

    @property
    def total(self) -> float:
        """Energy of the layer, in MACs."""
        return sum(self.energy.values())

    def of_data(self, data: str) -> float:
        """Energy that goes into one data type, or into "computation"."""
        return sum(value for (_, kind), value in self.energy.items() if kind == data)

    def of_level(self, level: str) -> float:
        """Energy that goes into one level, or into "mac"."""
        return sum(value for (place, _), value in self.energy.items() if place == level)


@dataclass(frozen=True)
class NetworkEstimate:
    """The layers of a network, in order."""

    layers: tuple[LayerEstimate, ...]

    @property
    def total(self) -> float:
        """Energy of one image, in MACs."""
        return sum(each.total for each in self.layers)

    @property
    def macs(self) -> float:
        """Multiply-accumulates that are not skipped."""
        return sum(each.macs for each in self.layers)

    @property
    def latency_us(self) -> float:
        """Time of one image, layer after layer."""
        return sum(each.latency_us for each in self.layers)


def estimate(layers: Iterable[Layer], hardware: Hardware, settings: Settings) -> NetworkEstimate:
    """Each of `layers` on `hardware`. InputError where one does not fit it."""
    found = []
    for layer in layers:
        known = estimate_layer(layer, hardware, settings)
        found.append(replace(known, layer=layer))  # Equal layers differ in their names.
    return NetworkEstimate(tuple(found))


@lru_cache(maxsize=_KEPT)
def estimate_layer(
    layer: Layer, hardware: Hardware, settings: Settings, mapping: Mapping | None = None
) -> LayerEstimate:
    """One layer under the policy's mapping, or under `mapping`, which must be legal."""
    if settings.policy not in POLICIES:
        known = ", ".join(POLICIES)
        raise UsageError(f"no policy {settings.policy!r}", f"Give one of {known}.")
    if mapping is None:
        mapping = best_mapping(layer, hardware, settings)
    group = layer.one_group()
    movement = POLICIES[settings.policy].movement
    moved = traffic(group, hardware, mapping, settings.batch, movement)
    spent = energies(group, hardware, settings, moved)
    share = layer.groups / settings.batch
    cycles = _cycles(group, hardware, mapping, settings.batch) * share
    by_dram = sum(
        spent["dram", data] / hardware.dram * hardware.word_bits / 8 * share for data in DATA
    )
    return LayerEstimate(
        layer=layer,
        mapping=mapping,
        words={key: float(words) * share for key, words in moved.items()},
        energy={key: float(value) * share for key, value in spent.items()},
        macs=layer.macs * useful_macs(layer),
        elements=Cut.of(group, hardware).height * mapping.e * mapping.r * mapping.t,
        compute_cycles=cycles,
        latency_us=max(cycles / hardware.clock_mhz, by_dram / hardware.dram_mb_per_s),
    )


def _cycles(layer: Layer, hardware: Hardware, mapping: Mapping, images: int) -> float:
    """Cycles of the array: an element does the one-dimensional convolutions it holds in turn."""
    cut = Cut.of(layer, hardware)
    pieces = layer.channels * cut.across
    strips = ceil_div(layer.out_height, mapping.e)
    held_channels = _longest(pieces, mapping.q, mapping.r, cut.down)
    held_filters = sum(
        count * _longest(size, mapping.p, mapping.t, 1)
        for count, size in _lots(layer.filters, mapping.m)
    )
    rows = images * strips * held_channels * held_filters
    return float(rows * cut.width * layer.out_width)


def _lots(filters: int, m: int) -> Sequence[tuple[int, int]]:
    """How many lots of how many filters there are."""
    return (filters // m, m), (1, filters % m)


def _longest(size: int, held: int, sets: int, repeats: int) -> int:
    """Turns that the busiest of `sets` takes, each holding up to `held` of `size` things."""
    groups = ceil_div(size, held) * repeats
    whole, rest = divmod(groups, sets)
    last = min(held, size) if rest > 1 or repeats > 1 else size - (ceil_div(size, held) - 1) * held
    return int(whole * min(held, size) + (last if rest else 0))
