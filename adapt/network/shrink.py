"""Physical removal of filters: a smaller Keras model with the kept slices of every variable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from adapt.network import graph
from adapt.network.groups import ChannelGroups
from adapt.network.identities import Setting

__all__ = [
    "Keep", "Weights", "build", "read_weights", "respelled", "slice_weights", "write_weights",
]  # fmt: skip

Keep = Mapping[str, Iterable[int]]
"""Group name -> positions within the group that stay; a group not named stays whole."""

Weights = dict[tuple[str, int], np.ndarray]
"""(Operation name, index in its variables) -> value. Every variable of a network, by place."""


def slice_weights(
    weights: Weights, groups: ChannelGroups, keep: Keep, current: Keep | None = None
) -> Weights:
    """The values of the shrunk network's variables: every axis cut to the filters that stay.

    `weights` are those of the network with the filters `current`, of which `keep` is a part; of
    the unshrunk network if None.
    """
    kept, present = groups.kept(keep), groups.kept(current or {})
    cut = dict(weights)
    for use in groups.uses:
        mask = kept[use.filters[present[use.filters]]]
        if not mask.all():
            cut[use.variable] = np.compress(mask, cut[use.variable], axis=use.axis)
    return cut


def build(model: keras.Model, groups: ChannelGroups, widths: Mapping[str, int]) -> keras.Model:
    """A new model like `model` whose groups have `widths`; its variables are freshly initialised.

    `widths` maps group names to 1 or more, also beyond the group's own width; a group that is not
    named keeps its width.
    """
    vector = [widths.get(group.name, group.width) for group in groups.groups]
    settings: dict[str, dict[Setting, int]] = defaultdict(dict)
    for setting, filters in groups.sizes.items():
        settings[setting.operation][setting] = groups.size(filters).at(vector)

    def clone(operation: Any) -> Any:
        # The bounds of a slice are arguments of its call.
        sizes = {} if graph.is_slice(operation) else settings.get(operation.name, {})
        return graph.copied(operation, lambda config: _resized(config, sizes))

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if graph.is_slice(operation) and operation.name in settings:
            tensor, key = args
            bounds = {s.key: size for s, size in settings[operation.name].items()}
            args = tensor, (*key[:-1], slice(bounds.get("start"), bounds.get("stop")))
        return operation(*args, **kwargs)

    return keras.models.clone_model(
        model, graph.new_inputs(model), clone_function=clone, call_function=call
    )


def _resized(config: dict[str, Any], sizes: Mapping[Setting, int]) -> dict[str, Any]:
    """`config` of an operation with other sizes."""
    for setting, size in sizes.items():
        if setting.position is None:
            config[setting.key] = size
            continue
        value = config[setting.key]
        # A split into equal sections, given by their number, becomes one at given places.
        places = [0] * (value - 1) if isinstance(value, int) else list(value)
        places[setting.position] = size
        config[setting.key] = tuple(places)
    return config


def respelled(model: keras.Model, groups: ChannelGroups) -> keras.Model:
    """`model` with splits and slices written as `build` writes them; itself where it has none.

    The converter has other operators for three equal parts than for parts that end at 2 and 4.
    """
    if not any(setting.is_bound for setting in groups.sizes):
        return model
    copy = build(model, groups, {})
    write_weights(copy, read_weights(model))
    return copy


def read_weights(model: keras.Model) -> Weights:
    """The value of every variable of `model`."""
    return {
        (call.name, number): np.asarray(variable)
        for call in graph.calls(model)
        for number, variable in enumerate(graph.variables(call.operation))
    }


def write_weights(model: keras.Model, weights: Weights) -> None:
    """Set every variable of `model`; ValueError where a shape does not fit."""
    for call in graph.calls(model):
        for number, variable in enumerate(graph.variables(call.operation)):
            variable.assign(weights[call.name, number])
