"""Convolutions: plain, grouped, depthwise, separable, transposed."""

from __future__ import annotations

import numpy as np

from adapt.network.graph import Call
from adapt.network.identities import Identities, Ids, Setting
from adapt.network.rules.registry import layer_rule, use

__all__: list[str] = []


@layer_rule("Conv1D", "Conv2D", "Conv3D")
def _conv(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    groups = call.operation.groups
    if groups == 1:
        return _plain(call, inputs[0], ids)
    # Either whole convolution groups are removed, or the same channels of each of them; what
    # leaves more to choose from.
    if groups > len(inputs[0]) // groups:
        return _by_group(call, inputs[0].reshape(groups, -1), ids)
    return _within_groups(call, inputs[0].reshape(groups, -1), ids)


def _plain(call: Call, carried: Ids, ids: Identities) -> list[Ids]:
    layer = call.operation
    out = ids.fresh(layer.filters)
    use(call, layer.kernel, len(layer.kernel.shape) - 2, carried, ids)
    _make(call, out, ids)
    return [out]


def _by_group(call: Call, members: Ids, ids: Identities) -> list[Ids]:
    """A convolution group is one filter, of its inputs and its outputs; depthwise in the limit."""
    first = members[:, 0]
    for column in members.T:
        ids.unite(first, column)
    out: Ids = np.repeat(first, call.operation.filters // len(first))
    _make(call, out, ids)
    ids.sizes[Setting(call.name, "groups")] = first
    return [out]


def _within_groups(call: Call, members: Ids, ids: Identities) -> list[Ids]:
    """Channels at one place in each convolution group are one filter."""
    layer, count = call.operation, len(members)
    for row in members:
        ids.unite(members[0], row)
    out: Ids = np.tile(ids.fresh(layer.filters // count), count)
    use(call, layer.kernel, len(layer.kernel.shape) - 2, members[0], ids)
    _make(call, out, ids)
    return [out]


def _make(call: Call, out: Ids, ids: Identities) -> None:
    layer = call.operation
    use(call, layer.kernel, len(layer.kernel.shape) - 1, out, ids, produces=True)
    use(call, layer.bias, 0, out, ids)
    ids.sizes[Setting(call.name, "filters")] = out


@layer_rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _conv_transpose(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    rank = len(layer.kernel.shape)
    out = ids.fresh(layer.filters)
    use(call, layer.kernel, rank - 1, inputs[0], ids)
    use(call, layer.kernel, rank - 2, out, ids, produces=True)
    use(call, layer.bias, 0, out, ids)
    ids.sizes[Setting(call.name, "filters")] = out
    return [out]


@layer_rule("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    # Output channel c * multiplier + m comes from input channel c.
    out: Ids = np.repeat(inputs[0], layer.depth_multiplier)
    use(call, layer.kernel, len(layer.kernel.shape) - 2, inputs[0], ids)
    use(call, layer.bias, 0, out, ids)
    return [out]


@layer_rule("SeparableConv1D", "SeparableConv2D")
def _separable(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    rank = len(layer.depthwise_kernel.shape)
    out = ids.fresh(layer.filters)
    between: Ids = np.repeat(inputs[0], layer.depth_multiplier)
    use(call, layer.depthwise_kernel, rank - 2, inputs[0], ids)
    use(call, layer.pointwise_kernel, rank - 2, between, ids)
    use(call, layer.pointwise_kernel, rank - 1, out, ids, produces=True)
    use(call, layer.bias, 0, out, ids)
    ids.sizes[Setting(call.name, "filters")] = out
    ids.inner.append(between)
    return [out]
