"""The proof that groups are right: a shrunk network computes what the original does when nothing
listens to the removed filters.

Producers cannot be silenced instead: what batch normalisation or a sigmoid make of zero is not
zero. A layer normalisation listens to all channels; in the original it is made to see only those
that stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from adapt.network import graph, shrink
from adapt.network.groups import ChannelGroups, find_groups

__all__ = ["difference", "random_inputs", "random_keep", "randomise"]


def randomise(model: keras.Model, seed: int = 7) -> keras.Model:
    """Give every variable a value of its own, of the size that training gives it."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape, name = variable.shape, variable.name
        if not np.issubdtype(np.dtype(variable.dtype), np.floating):
            continue
        if name in ("moving_variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif len(shape) > 1:
            variable.assign(rng.normal(0, 1 / np.sqrt(max(1, np.prod(shape[:-1]))), shape))
        else:
            variable.assign(rng.normal(0, 0.1, shape))
    return model


def random_keep(groups: ChannelGroups, seed: int, least: int = 1) -> dict[str, list[int]]:
    """Positions that stay, at least `least` of each group."""
    rng = np.random.default_rng(seed)
    keep = {}
    for group in groups.groups:
        fewest = min(max(least, group.least), group.width)
        width = int(rng.integers(fewest, group.width + 1))
        keep[group.name] = sorted(rng.choice(group.width, width, replace=False).tolist())
    return keep


def random_inputs(model: keras.Model, batch: int = 2, seed: int = 2) -> Any:
    """An input for `model`, or one for each of its inputs."""
    rng = np.random.default_rng(seed)
    arrays = [rng.random((batch, *x.shape[1:]), np.float32) for x in model.inputs]
    return keras.tree.pack_sequence_as(model.input, arrays)


def difference(model: keras.Model, keep: dict[str, list[int]]) -> float:
    """Largest difference of an output of the shrunk network from the original's, by its scale.

    The original is the one without listeners to the filters that are not in `keep`.
    """
    groups = find_groups(model)
    original = shrink.read_weights(model)
    x = random_inputs(model)
    smaller = shrink.build(model, groups, {name: len(kept) for name, kept in keep.items()})
    shrink.write_weights(smaller, shrink.slice_weights(original, groups, keep))
    removes = any(len(keep[group.name]) < group.width for group in groups.groups)
    assert (smaller.count_params() < model.count_params()) == removes
    deaf = _with_masked_norms(model, groups, groups.kept(keep))
    try:
        shrink.write_weights(model, _without_listeners(model, groups, keep))
        expected = keras.tree.flatten(deaf(x, training=False))
    finally:
        shrink.write_weights(model, original)
    got = keras.tree.flatten(smaller(x, training=False))
    return max(
        float(np.abs(np.subtract(a, b)).max() / np.abs(b).max())
        for a, b in zip(got, expected, strict=True)
    )


def _listeners(operation: Any) -> Iterator[tuple[Any, int]]:
    """Variables that mix channels, and the axis of those that come in."""
    match operation:
        case layers.Conv1DTranspose() | layers.Conv2DTranspose() | layers.Conv3DTranspose():
            yield operation.kernel, -1
        case layers.DepthwiseConv1D() | layers.DepthwiseConv2D():
            pass
        case layers.SeparableConv1D() | layers.SeparableConv2D():
            yield operation.pointwise_kernel, -2
        case layers.Conv1D() | layers.Conv2D() | layers.Conv3D() | layers.Dense():
            yield operation.kernel, -2
        case layers.EinsumDense():
            yield operation.kernel, 0
        case layers.MultiHeadAttention():
            for dense in (operation.query_dense, operation.key_dense, operation.value_dense):
                yield dense.kernel, 0
            yield operation.output_dense.kernel, 0


def _without_listeners(
    model: keras.Model, groups: ChannelGroups, keep: dict[str, list[int]]
) -> shrink.Weights:
    kept = groups.kept(keep)
    weights = shrink.read_weights(model)
    uses = {(use.variable, use.axis): use.filters for use in groups.uses}
    for call in graph.calls(model):
        for kernel, axis in _listeners(call.operation):
            variables = graph.variables(call.operation)
            place = call.name, next(i for i, v in enumerate(variables) if v is kernel)
            filters = uses.get((place, axis % len(kernel.shape)))
            # None where it is kept whole, and for convolution groups that are removed as a whole.
            if filters is not None:
                shape = [1] * len(kernel.shape)
                shape[axis] = len(filters)
                weights[place] = weights[place] * kept[filters].reshape(shape)
    return weights


class _Masked(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """A layer or group normalisation with the statistics of some channels alone."""

    def __init__(self, norm: Any, mask: np.ndarray, axes: tuple[int, ...]) -> None:
        super().__init__(name=f"masked_{norm.name}")
        self.norm, self.mask, self.axes = norm, mask.astype(np.float32), axes

    def call(self, x: Any) -> Any:
        share = float(self.mask.mean())
        mean = ops.mean(x * self.mask, self.axes, keepdims=True) / share
        square = ops.mean(ops.square(x - mean) * self.mask, self.axes, keepdims=True) / share
        y = (x - mean) / ops.sqrt(square + self.norm.epsilon)
        y = y if self.norm.gamma is None else y * self.norm.gamma
        return y if self.norm.beta is None else y + self.norm.beta


def _with_masked_norms(model: keras.Model, groups: ChannelGroups, kept: np.ndarray) -> keras.Model:
    """`model` on its own layers, but for the normalisations over channels."""
    carried = {use.variable[0]: use.filters for use in groups.uses if use.axis == 0}

    def masked(operation: Any) -> Any:
        mask = kept[carried[operation.name]] if operation.name in carried else np.ones(1)
        if isinstance(operation, layers.LayerNormalization):
            return _Masked(operation, mask, tuple(operation.axis))
        if isinstance(operation, layers.GroupNormalization) and operation.groups == 1:
            return _Masked(operation, mask, tuple(range(1, len(operation.input.shape))))
        return operation

    kinds = {call.kind for call in graph.calls(model)}
    if not kinds & {"LayerNormalization", "GroupNormalization"}:
        return model
    return keras.models.clone_model(model, graph.new_inputs(model), clone_function=masked)
