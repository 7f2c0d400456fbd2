"""Which channels must be removed together: channel identities, followed through the graph.

Every channel of every tensor gets an id. A convolution reads the ids of its input and makes new
ones; a depthwise convolution and an activation pass them on; a residual addition declares the ids
of its operands equal (union-find); a flatten repeats them. Each layer also notes which axis of
which of its variables carries which ids. Ids that end up equal are one *filter*: removing it
removes a slice of every axis that carries it. Filters that are carried by the same axes are one
*group*, whose width is what the loop changes.

What a rule does not know is frozen: its input and output channels stay, and the layer is named in
`ChannelGroups.kept_whole` with the reason. Nothing is concluded from a layer's name.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import keras
import numpy as np

from adapt.network import graph, rules
from adapt.network.identities import Identities, Ids, Setting

__all__ = ["AxisUse", "ChannelGroups", "Group", "KeptWhole", "Size", "find_groups"]

_NO_GROUP = -1

# The shapes of a network's weights then do not say where the slice begins or ends.
_UNTOLD = "no weight is on its channels alone, which are taken apart at "


@dataclass(frozen=True)
class AxisUse:
    """One axis of one variable, and the filter that each position along it belongs to.

    `variable` is (operation name, index in the operation's variables); `filters[p]` numbers the
    filter of position p over the whole network; `produces` where this axis makes the filters (the
    output axis of a kernel), so that the slice's magnitude says how much the filter matters.
    """

    variable: tuple[str, int]
    axis: int
    filters: np.ndarray
    produces: bool


@dataclass(frozen=True)
class Group:
    """Filters that share all their axes: one width to choose.

    `filters` are numbers over the whole network, ascending; `layers` names the producing layers.
    `least` is the width below which the network would have other operators.
    """

    name: str
    filters: np.ndarray
    layers: tuple[str, ...]
    least: int = 1

    @property
    def width(self) -> int:
        """Number of filters in the unshrunk network."""
        return len(self.filters)


@dataclass(frozen=True)
class Size:
    """The size of an axis as a function of the widths: constant + sum of factor * width.

    A flatten carries each filter several times, so the factor is how often; a concatenation has
    several groups. `terms` are (group index, factor).
    """

    constant: int
    terms: tuple[tuple[int, int], ...] = ()

    def at(self, widths: Sequence[int]) -> int:
        """The size where group i has `widths[i]`."""
        return self.constant + sum(factor * widths[group] for group, factor in self.terms)

    @property
    def groups(self) -> Iterator[int]:
        """Indices of the groups that the size depends on."""
        return (group for group, _ in self.terms)


@dataclass(frozen=True)
class KeptWhole:
    """A layer whose channels are not touched, and why."""

    layer: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer} ({self.kind}): {self.reason}"


@dataclass(frozen=True)
class ChannelGroups:
    """The result of following the channels of one model.

    `sizes` maps settings of operations to the filters that they count; `tensors` holds the filters
    of each tensor's last axis, and of other axes within operations; `frozen[f]` is True for
    filters that no group may remove.
    """

    groups: tuple[Group, ...]
    uses: tuple[AxisUse, ...]
    sizes: Mapping[Setting, np.ndarray]
    tensors: tuple[np.ndarray, ...]
    frozen: np.ndarray
    kept_whole: tuple[KeptWhole, ...]
    index: Mapping[str, int] = field(init=False)
    _owner: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        owner = np.full(len(self.frozen), _NO_GROUP)
        for number, group in enumerate(self.groups):
            owner[group.filters] = number
        object.__setattr__(self, "_owner", owner)
        object.__setattr__(self, "index", {g.name: i for i, g in enumerate(self.groups)})

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group in the unshrunk network."""
        return {group.name: group.width for group in self.groups}

    def kept(self, keep: Mapping[str, Iterable[int]]) -> np.ndarray:
        """Boolean over all filters: True where it stays.

        `keep` maps a group's name to the positions within the group that stay; a group that is
        not named stays whole.
        """
        kept = np.ones(len(self.frozen), dtype=bool)
        for name, positions in keep.items():
            filters = self.groups[self.index[name]].filters
            kept[filters] = False
            kept[filters[np.asarray(list(positions), dtype=np.int64)]] = True
        return kept

    def size(self, filters: np.ndarray) -> Size:
        """How the size of an axis that carries `filters` depends on the widths."""
        owners, counts = np.unique(self._owner[filters], return_counts=True)
        pairs = dict(zip(owners.tolist(), counts.tolist(), strict=True))
        constant = pairs.pop(_NO_GROUP, 0)
        terms = ((g, count // self.groups[g].width) for g, count in pairs.items())
        return Size(constant, tuple(terms))

    def channel_sizes(self) -> list[Size]:
        """Every distinct size that some axis or setting has and that can change."""
        axes = itertools.chain(
            self.tensors, (use.filters for use in self.uses), self.sizes.values()
        )
        sizes = dict.fromkeys(self.size(filters) for filters in axes)
        return [size for size in sizes if size.terms]


def find_groups(model: keras.Model) -> ChannelGroups:
    """Follow the channels of a functional `model`, without nested ones, and return its groups."""
    ids = Identities()
    tensors: dict[int, Ids] = {}
    kept_whole: dict[str, KeptWhole] = {}
    for call in graph.calls(model):
        inputs = [tensors[id(t)] for t in call.inputs]
        try:
            if call.name in kept_whole:  # Another call of it could not be followed.
                raise rules.NotFollowed(kept_whole[call.name].reason)
            outputs = rules.follow(call, inputs, ids)
        except rules.NotFollowed as reason:
            outputs = _keep_whole(call, inputs, ids)
            kept_whole[call.name] = KeptWhole(call.name, call.kind, str(reason))
        tensors.update({id(t): out for t, out in zip(call.outputs, outputs, strict=True)})
    for tensor in model.outputs:
        ids.freeze(tensors[id(tensor)])
    found = _collect(ids, list(tensors.values()), kept_whole.values())
    while untold := _first_untold(found):
        setting, group = untold
        why = _UNTOLD + setting.operation
        kept_whole[group.name] = KeptWhole(group.name, "part of a layer", why)
        ids.freeze(np.flatnonzero(np.isin(_filter_numbers(ids), group.filters)))
        found = _collect(ids, list(tensors.values()), kept_whole.values())
    return found


def _first_untold(found: ChannelGroups) -> tuple[Setting, Group] | None:
    """A bound of a slice that depends on a group whose width no variable's shape tells."""
    told = {
        index
        for use in found.uses
        if len(terms := list(found.size(use.filters).groups)) == 1
        for index in terms
    }
    for setting, filters in found.sizes.items():
        for index in found.size(filters).groups:
            if setting.is_bound and index not in told:
                return setting, found.groups[index]
    return None


def _keep_whole(call: graph.Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    # What an earlier call of the layer, or this one before it was given up, has noted of its
    # variables.
    noted = [use.ids for use in ids.uses if use.variable[0] == call.name]
    outputs = [ids.fresh(call.channels(t)) for t in call.outputs]
    for channels in (*inputs, *noted, *outputs):
        ids.freeze(channels)
    return outputs


def _collect(ids: Identities, tensors: list[Ids], kept_whole: Iterable[KeptWhole]) -> ChannelGroups:
    filter_of = _filter_numbers(ids)
    frozen = np.zeros(filter_of.max() + 1, dtype=bool)
    frozen[filter_of[ids.frozen()]] = True

    uses = tuple(AxisUse(u.variable, u.axis, filter_of[u.ids], u.produces) for u in ids.uses)
    sizes = {setting: filter_of[channels] for setting, channels in ids.sizes.items()}
    axes = tuple(filter_of[t] for t in itertools.chain(tensors, ids.inner))
    in_variables = np.zeros(len(frozen), dtype=bool)
    for use in uses:
        in_variables[use.filters] = True
    # The same axes, and each as often: the size of an axis is then a multiple of the width. So it
    # is for bounds of slices, which count the filters before them.
    alike = _alike(len(frozen), [*(use.filters for use in uses), *axes, *sizes.values()])
    members: dict[int, list[int]] = defaultdict(list)
    for number in np.flatnonzero(in_variables & ~frozen).tolist():
        members[int(alike[number])].append(number)
    least = [(filter_of[channels], count) for channels, count in ids.least]
    groups = tuple(_group(np.array(m), uses, least) for m in members.values())
    return ChannelGroups(
        groups=_unique_names(groups),
        uses=uses,
        sizes=sizes,
        tensors=axes,
        frozen=frozen,
        kept_whole=tuple(kept_whole),
    )


def _filter_numbers(ids: Identities) -> np.ndarray:
    """The filter of every id, numbered by first appearance whatever the order of unions."""
    _, first, numbers = np.unique(ids.roots(), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


def _alike(count: int, axes: Iterable[np.ndarray]) -> np.ndarray:
    """Labels of `count` filters, equal for those that occur equally often on each of `axes`."""
    labels = np.zeros(count, dtype=np.int64)
    unused = 1
    for axis in axes:
        filters, times = np.unique(axis, return_counts=True)
        # All that this axis carries gets new labels, so that the rest keeps its own.
        _, parts = np.unique(np.stack([labels[filters], times]), axis=1, return_inverse=True)
        labels[filters] = unused + parts.reshape(-1)
        unused += len(filters)
    return labels


def _group(
    filters: np.ndarray, uses: tuple[AxisUse, ...], least: list[tuple[np.ndarray, int]]
) -> Group:
    makers = [u.variable[0] for u in uses if u.produces and filters[0] in u.filters]
    layers = tuple(dict.fromkeys(makers))
    return Group(
        name=layers[0] if layers else f"filters-{filters[0]}",
        filters=filters,
        layers=layers,
        least=max((count for carried, count in least if filters[0] in carried), default=1),
    )


def _unique_names(groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """A layer can make filters of two groups (its outputs are split); number the second."""
    seen: dict[str, int] = defaultdict(int)
    named: list[Group] = []
    for group in groups:
        seen[group.name] += 1
        suffix = f"#{seen[group.name]}" if seen[group.name] > 1 else ""
        named.append(replace(group, name=group.name + suffix))
    return tuple(named)
