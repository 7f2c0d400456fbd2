"""A copy of a network whose layers take any number of channels.

Keras keeps the number of channels in settings of some layers, which are used for no more than to
reshape a bias or to tell the shape of a result. Here the values say it: those of the weights in
use, whose shapes are open while a graph is traced.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from adapt.network import graph
from adapt.network.groups import AxisUse, ChannelGroups, Size
from adapt.network.identities import Setting
from adapt.network.shrink import build

__all__ = ["relaxed"]

# Moving statistics must follow a pruned network within a short fine-tune: with the 0.99 that is
# usual for training from scratch, two thirds of them would still be the unshrunk network's after 40
# steps.
_STATISTICS_MOMENTUM = 0.9

_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def relaxed(model: keras.Model, groups: ChannelGroups) -> keras.Model:
    """A copy of `model` whose layers do not insist on their number of channels."""
    copy = build(model, groups, {})
    widths = _Widths(copy, groups)
    resized = {setting.operation for setting in groups.sizes}
    for call in graph.calls(copy):
        if isinstance(call.operation, keras.layers.Layer):
            for layer in call.operation._flatten_layers():
                layer.input_spec = None
                if isinstance(layer, keras.layers.EinsumDense):
                    layer.call = _einsum(layer)
        if isinstance(call.operation, keras.layers.BatchNormalization):
            _relax_batch_norm(call)
        elif call.name in resized:
            _relax_size(call, widths)
        elif isinstance(call.operation, _DEPTHWISE):
            # Both are used only to reshape the bias.
            call.operation.depth_multiplier = 1
            call.operation._get_input_channel = lambda _: -1
        elif isinstance(call.operation, keras.layers.GroupNormalization):
            _relax_group_norm(call, share=None)
        elif call.kind in ("LayerNormalization", "RMSNormalization"):
            _relax_layer_norm(call)
    return copy


class _Widths:
    """Sizes by the values that variables have while the network runs."""

    def __init__(self, model: keras.Model, groups: ChannelGroups) -> None:
        self._groups = groups
        self._variables = {
            (call.name, number): variable
            for call in graph.calls(model)
            for number, variable in enumerate(graph.variables(call.operation))
        }

    def size_of(self, setting: Setting) -> Callable[[], Any]:
        """What gives the number of channels that `setting` counts: an int, or a scalar tensor."""
        size = self._groups.size(self._groups.sizes[setting])
        widths = [(factor, self._width_of(group)) for group, factor in size.terms]
        return lambda: size.constant + sum(factor * width() for factor, width in widths)

    def _width_of(self, group: int) -> Callable[[], Any]:
        # There is one: what no axis tells is in no group.
        use, size = next(
            (use, size)
            for use in self._groups.uses
            if list((size := self._groups.size(use.filters)).groups) == [group]
        )
        return functools.partial(self._solve, use, size)

    def _solve(self, use: AxisUse, size: Size) -> Any:
        """The width of the one group that the axis carries."""
        value = tf.convert_to_tensor(self._variables[use.variable])
        ((_, factor),) = size.terms
        return (tf.shape(value)[use.axis] - size.constant) // factor


def _relax_batch_norm(call: graph.Call) -> None:
    layer, rank = call.operation, len(call.inputs[0].shape)
    layer.momentum = min(layer.momentum, _STATISTICS_MOMENTUM)
    if isinstance(layer.axis, int) and layer.axis % rank == rank - 1:
        layer.axis = -1  # The same axis; spares a reshape to a fixed size.


def _relax_layer_norm(call: graph.Call) -> None:
    layer, rank = call.operation, len(call.inputs[0].shape)
    layer.axis = axes = sorted(axis % rank for axis in layer.axis)
    if axes == [rank - 1] or call.kind == "RMSNormalization" or layer.rms_scaling:
        return  # Spares a reshape to a fixed size.

    def spread(variable: Any, x: Any) -> Any:
        shape = [tf.shape(x)[axis] if axis in axes else 1 for axis in range(rank)]
        return tf.reshape(tf.convert_to_tensor(variable), shape)

    def normalise(x: Any) -> Any:
        mean, variance = tf.nn.moments(x, axes, keepdims=True)
        y = (x - mean) * tf.math.rsqrt(variance + layer.epsilon)
        y = y if layer.gamma is None else y * spread(layer.gamma, x)
        return y if layer.beta is None else y + spread(layer.beta, x)

    layer.call = normalise


def _relax_size(call: graph.Call, widths: _Widths) -> None:
    layer = call.operation
    if call.kind == "Reshape":
        layer.call = _reshape(call.outputs[0].shape[1:-1])
    elif call.kind == "Split":
        layer.call = _split(call, widths)
    elif graph.is_slice(layer):
        layer.call = _slice(call, widths)
    elif isinstance(layer, keras.layers.GroupNormalization):
        _relax_group_norm(call, share=call.inputs[0].shape[-1] // layer.groups)
    elif isinstance(layer, _TRANSPOSED):
        layer.call = _transposed_convolution(layer, layer.compute_output_shape)
    elif hasattr(layer, "convolution_op"):
        if layer.groups == 1:
            layer.convolution_op = _plain_convolution(layer.convolution_op)
        elif layer.kernel.shape[-2] == 1 and len(set(layer.strides)) == 1 and layer.rank == 2:
            layer.convolution_op = _depthwise_convolution(layer, layer.filters // layer.groups)
        layer.filters = -1  # Used only to reshape the bias.
    elif hasattr(layer, "filters"):
        layer.filters = -1


def _plain_convolution(convolve: Callable[..., Any]) -> Callable[..., Any]:
    """`convolve` on the kernel's value instead of the variable.

    Keras compares the input's channels with those of the variable. Where only one of them is open
    it takes the convolution for a grouped one and compiles it with XLA, anew for every shape.
    """

    def convolution(inputs: Any, kernel: Any) -> Any:
        value = tf.convert_to_tensor(kernel)
        known = inputs.shape[-1] or value.shape[-2]
        inputs = tf.ensure_shape(inputs, [*inputs.shape[:-1], known])
        value = tf.ensure_shape(value, [*value.shape[:-2], known, value.shape[-1]])
        return convolve(inputs, value)

    return convolution


def _depthwise_convolution(layer: Any, multiplier: int) -> Callable[..., Any]:
    """A convolution with a group for each channel, which TensorFlow runs without XLA as depthwise.

    Its weights [rows, columns, 1, channels * multiplier] are those of [rows, columns, channels,
    multiplier].
    """

    def convolution(inputs: Any, kernel: Any) -> Any:
        value = tf.convert_to_tensor(kernel)
        value = tf.reshape(value, [*value.shape[:2], -1, multiplier])
        strides = (1, *layer.strides, 1)
        return tf.nn.depthwise_conv2d(
            inputs, value, strides, layer.padding.upper(), dilations=layer.dilation_rate
        )

    return convolution


def _einsum(layer: Any) -> Callable[..., Any]:
    """`layer.call` by TensorFlow's own product: Keras' reshapes to sizes that it wants known."""

    def call(x: Any, training: bool | None = None) -> Any:
        y = tf.einsum(layer.equation, x, tf.convert_to_tensor(layer.kernel))
        y = y if layer.bias is None else y + tf.convert_to_tensor(layer.bias)
        return y if layer.activation is None else layer.activation(y)

    return call


def _reshape(space: tuple[int, ...]) -> Callable[..., Any]:
    return lambda x: tf.reshape(x, [tf.shape(x)[0], *space, -1])


def _split(call: graph.Call, widths: _Widths) -> Callable[..., Any]:
    count = len(call.outputs)
    places = [
        widths.size_of(Setting(call.name, "indices_or_sections", i)) for i in range(count - 1)
    ]

    def split(x: Any) -> Any:
        ends = [0, *(place() for place in places), tf.shape(x)[-1]]
        sizes = [stop - start for start, stop in itertools.pairwise(ends)]
        return tf.split(x, tf.stack(sizes), axis=-1, num=count)

    return split


def _slice(call: graph.Call, widths: _Widths) -> Callable[..., Any]:
    part = graph.channel_slice(call) or slice(None)
    start = None if part.start is None else widths.size_of(Setting(call.name, "start"))
    stop = None if part.stop is None else widths.size_of(Setting(call.name, "stop"))

    def take(x: Any, key: tuple[Any, ...]) -> Any:
        return x[(*key[:-1], slice(start and start(), stop and stop()))]

    return take


def _relax_group_norm(call: graph.Call, share: int | None) -> None:
    """`share` channels have statistics together; all of them if None."""
    layer, rank = call.operation, len(call.inputs[0].shape)

    def normalise(x: Any) -> Any:
        shape = tf.shape(x)
        together = shape[rank - 1] if share is None else share
        parts = tf.reshape(x, [shape[0], -1, shape[rank - 1] // together, together])
        mean, variance = tf.nn.moments(parts, [1, 3], keepdims=True)
        y = tf.reshape((parts - mean) * tf.math.rsqrt(variance + layer.epsilon), shape)
        y = y if layer.gamma is None else y * tf.convert_to_tensor(layer.gamma)
        return y if layer.beta is None else y + tf.convert_to_tensor(layer.beta)

    layer.call = normalise


def _transposed_convolution(layer: Any, output_shape: Callable[..., Any]) -> Callable[..., Any]:
    """`layer.call` with the channels taken from the kernel's value: Keras wants them known."""

    def call(x: Any) -> Any:
        batch, *space, _ = output_shape((None, *x.shape[1:]))
        channels = tf.shape(layer.kernel)[-2]
        y = tf.nn.conv_transpose(
            x,
            layer.kernel,
            [tf.shape(x)[0] if batch is None else batch, *space, channels],
            layer.strides,
            layer.padding.upper(),
            dilations=layer.dilation_rate,
        )
        return layer.activation(y + layer.bias if layer.use_bias else y)

    return call
