"""Normalisations."""

from __future__ import annotations

import keras
import numpy as np

from adapt.network.graph import Call
from adapt.network.identities import Identities, Ids, Setting
from adapt.network.rules.registry import NotFollowed, layer_rule, use

__all__: list[str] = []


@layer_rule("BatchNormalization")
def _batch_norm(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer, rank = call.operation, len(call.inputs[0].shape)
    if [axis % rank for axis in keras.tree.flatten(layer.axis)] != [rank - 1]:
        raise NotFollowed("normalises an axis other than the last")
    if getattr(layer, "renorm", False):
        raise NotFollowed("batch renormalisation")
    for attribute in ("gamma", "beta", "moving_mean", "moving_variance"):
        use(call, getattr(layer, attribute, None), 0, inputs[0], ids)
    return [inputs[0]]


@layer_rule("LayerNormalization", "RMSNormalization")
def _layer_norm(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """The statistics of the shrunk network are those of the channels that stay."""
    layer, rank = call.operation, len(call.inputs[0].shape)
    axes = [axis % rank for axis in keras.tree.flatten(layer.axis)]
    if rank - 1 in axes:
        for attribute in ("gamma", "beta", "scale"):
            variable = getattr(layer, attribute, None)
            if isinstance(variable, keras.Variable):
                use(call, variable, axes.index(rank - 1), inputs[0], ids)
    return [inputs[0]]


@layer_rule("GroupNormalization")
def _group_norm(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """Channels that share statistics are one filter, so that the others' stay what they are.

    A single group is a layer normalisation: the channels that stay have new statistics.
    """
    layer, rank = call.operation, len(call.inputs[0].shape)
    if layer.axis % rank != rank - 1:
        raise NotFollowed("normalises an axis other than the last")
    if layer.groups > 1:
        members = np.reshape(inputs[0], (layer.groups, -1))
        for column in members.T:
            ids.unite(members[:, 0], column)
        ids.sizes[Setting(call.name, "groups")] = members[:, 0]
    for variable in (layer.gamma, layer.beta):
        use(call, variable, 0, inputs[0], ids)
    return [inputs[0]]
