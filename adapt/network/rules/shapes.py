"""Operations that put channels elsewhere: concatenations, slices, reshapes, reductions."""

from __future__ import annotations

import keras
import numpy as np

from adapt.network.graph import Call, channel_slice
from adapt.network.identities import Identities, Ids, Setting
from adapt.network.rules.registry import NotFollowed, layer_rule, operation_rule

__all__: list[str] = []


@layer_rule("Concatenate")
@operation_rule("Concatenate")
def _concatenate(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.inputs[0].shape)
    if call.operation.axis % rank == rank - 1:
        return [np.concatenate(inputs)]
    for operand in inputs[1:]:
        ids.unite(inputs[0], operand)
    return [inputs[0]]


@operation_rule("GetItem")
def _get_item(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    part = channel_slice(call)
    if part is None:
        raise NotFollowed("takes something else than a range of channels")
    start, stop, _ = part.indices(len(inputs[0]))
    # The bounds that are given; an open one stays open.
    if part.start is not None:
        ids.sizes[Setting(call.name, "start")] = inputs[0][:start]
    if part.stop is not None:
        ids.sizes[Setting(call.name, "stop")] = inputs[0][:stop]
    return [inputs[0][start:stop]]


@operation_rule("Split")
def _split(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank, count = len(call.inputs[0].shape), len(call.outputs)
    if call.operation.axis % rank != rank - 1:
        return inputs * count
    given = call.operation.indices_or_sections
    ends = [i * len(inputs[0]) // given for i in range(1, given)] if np.ndim(given) == 0 else given
    for position, end in enumerate(ends):
        ids.sizes[Setting(call.name, "indices_or_sections", position)] = inputs[0][:end]
    return np.split(inputs[0], ends)


@layer_rule("Flatten")
def _flatten(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    size = call.outputs[0].shape[-1]
    if size is None:
        raise NotFollowed("open spatial size")
    # Channels last: element i of the flat vector is channel i mod C.
    return [np.tile(inputs[0], size // len(inputs[0]))]


@layer_rule("Reshape")
@operation_rule("Reshape")
def _reshape(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    key = "target_shape" if isinstance(call.operation, keras.layers.Layer) else "newshape"
    given, after = getattr(call.operation, key), call.outputs[0].shape
    before, width = call.inputs[0].shape, after[-1]
    same_batch = len(after) > 1 and before[0] == after[0]
    if not same_batch or None in (*before[1:], *after[1:]) or len(inputs[0]) != before[-1]:
        raise NotFollowed(f"reshapes {before[1:]} to {after[1:]}")
    # Elements keep their order, so that one in channel i of the longer last axis is in channel
    # i mod the shorter one.
    if width % before[-1] == 0:
        out = np.tile(inputs[0], width // before[-1])
    elif before[-1] % width == 0:
        rows = inputs[0].reshape(-1, width)
        for row in rows:
            ids.unite(rows[0], row)
        out = rows[0]
    else:
        raise NotFollowed(f"reshapes {before[1:]} to {after[1:]}")
    if given[-1] != -1:
        # A second call of the same layer has the same target, and so as many channels.
        ids.unite(ids.sizes.setdefault(Setting(call.name, key, -1), out), out)
    return [out]


@layer_rule("Permute")
@operation_rule("Transpose")
def _permute(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.inputs[0].shape)
    is_layer = isinstance(call.operation, keras.layers.Layer)
    order = call.operation.dims if is_layer else call.operation.axes
    if order is None or order[-1] % rank != rank - 1:
        raise NotFollowed("moves channels to another axis")
    return [inputs[0]]


@operation_rule("Mean", "Max", "Min", "Sum", "Squeeze", "ExpandDims")
def _other_axes(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """What concerns given axes; where the last one is among them, channels are mixed."""
    axis = call.operation.axis
    # A new last axis stands behind the channels.
    rank = len(call.inputs[0].shape) + (1 if call.kind == "ExpandDims" else 0)
    axes = [a % rank for a in keras.tree.flatten(axis) if a is not None]
    if not axes or rank - 1 in axes:
        raise NotFollowed("combines channels, or moves them to another axis")
    return [inputs[0]]
