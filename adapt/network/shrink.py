"""Physical removal of filters: a smaller Keras model with the kept slices of every variable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from adapt.network import graph
from adapt.network.groups import ChannelGroups

__all__ = ["Keep", "Weights", "build", "read_weights", "slice_weights", "write_weights"]

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
    settings: dict[str, dict[str, int]] = {}
    for (name, key), filters in groups.sizes.items():
        settings.setdefault(name, {})[key] = groups.size(filters).at(vector)

    def clone(operation: Any) -> Any:
        is_layer = isinstance(operation, keras.layers.Layer)
        # Keras makes no second Lambda from the first one's settings, which are Python code.
        if not is_layer or isinstance(operation, keras.layers.Lambda):
            return operation
        config = operation.get_config()
        for key, size in settings.get(operation.name, {}).items():
            config[key] = (*config[key][:-1], size) if key == "target_shape" else size
        return type(operation).from_config(config)

    return keras.models.clone_model(model, graph.new_input(model), clone_function=clone)


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
