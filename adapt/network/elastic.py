"""A Keras network as a function of its weights, whatever its widths.

One traced graph then serves every proposal of a run: tracing costs 1-2 s a network, running a
step a tenth of that. Keras' own `stateless_call` refuses values whose shape differs from the
variable's; the layers themselves do not mind, apart from a few settings that repeat the channel
count, which `relaxed` opens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import StatelessScope

from adapt.network import graph
from adapt.network.groups import ChannelGroups
from adapt.network.shrink import build

__all__ = ["ElasticNetwork", "Place"]

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

Place = tuple[str, int]
"""Where a variable stands: (operation name, index in the operation's variables)."""


class _ElasticScope(StatelessScope):  # type: ignore[misc]  # Keras ships no types
    """A stateless scope whose values may have other shapes than their variables."""

    def __init__(self, values: Sequence[tuple[Any, Any]]) -> None:
        super().__init__()
        self.state_mapping = {id(variable): value for variable, value in values}


class ElasticNetwork:
    """`model` with its variables as arguments.

    `trainable` and `state` are the places of the variables, in the order in which `apply` takes
    and returns values; `state` holds what training changes without a gradient (moving statistics,
    seeds) or not at all (frozen layers). `signature(place)` is the shape with None on every axis
    that a group can shrink.
    """

    def __init__(self, model: keras.Model, groups: ChannelGroups) -> None:
        self._model = _relaxed(model, groups)
        self._variables: dict[Place, Any] = {
            (call.name, number): variable
            for call in graph.calls(self._model)
            for number, variable in enumerate(graph.variables(call.operation))
        }
        trained = {id(v) for v in self._model.trainable_variables}
        self.trainable = [p for p, v in self._variables.items() if id(v) in trained]
        self.state = [p for p, v in self._variables.items() if id(v) not in trained]
        self._open = {
            (use.variable, use.axis) for use in groups.uses if not groups.frozen[use.filters].all()
        }

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input with None for the batch."""
        return tuple(self._model.inputs[0].shape)

    @property
    def gives_logits(self) -> bool:
        """Whether the outputs are scores to be put through a softmax, not probabilities."""
        last = graph.last_operation(self._model)
        activation = getattr(getattr(last, "activation", None), "__name__", "")
        return type(last).__name__ != "Softmax" and activation != "softmax"

    @property
    def seeds(self) -> list[Place]:
        """Places of random-number state; a caller that wants reproducible dropout sets them."""
        return [p for p in self.state if "seed_generator" in self._variables[p].path]

    def signature(self, place: Place) -> tf.TensorSpec:
        """Shape and type of the value at `place`, open where a group can shrink it."""
        variable = self._variables[place]
        shape = [
            None if (place, axis) in self._open else size
            for axis, size in enumerate(variable.shape)
        ]
        return tf.TensorSpec(shape, variable.dtype)

    def apply(
        self, trainable: Sequence[Any], state: Sequence[Any], x: Any, *, training: bool
    ) -> tuple[Any, list[Any]]:
        """Output for a batch `x` [N, ...], and the new values of `state`."""
        places = [*self.trainable, *self.state]
        values = [
            (self._variables[p], v) for p, v in zip(places, [*trainable, *state], strict=True)
        ]
        with _ElasticScope(values) as scope:
            y = self._model(x, training=training)
        return y, [scope.get_current_value(self._variables[p]) for p in self.state]


def _relaxed(model: keras.Model, groups: ChannelGroups) -> keras.Model:
    """A copy of `model` whose layers do not insist on their number of channels."""
    relaxed = build(model, groups, {})
    resized = {setting.operation for setting in groups.sizes}
    for call in graph.calls(relaxed):
        if isinstance(call.operation, keras.layers.Layer):
            call.operation.input_spec = None
        if isinstance(call.operation, keras.layers.BatchNormalization):
            _relax_batch_norm(call)
        elif call.name in resized:
            _relax_size(call)
        elif isinstance(call.operation, _DEPTHWISE):
            # Both are used only to reshape the bias.
            call.operation.depth_multiplier = 1
            call.operation._get_input_channel = lambda _: -1
    return relaxed


def _relax_batch_norm(call: graph.Call) -> None:
    layer, rank = call.operation, len(call.inputs[0].shape)
    layer.momentum = min(layer.momentum, _STATISTICS_MOMENTUM)
    if isinstance(layer.axis, int) and layer.axis % rank == rank - 1:
        layer.axis = -1  # The same axis; spares a reshape to a fixed size.


def _relax_size(call: graph.Call) -> None:
    layer = call.operation
    if isinstance(layer, keras.layers.Reshape):
        layer.target_shape = (*call.outputs[0].shape[1:-1], -1)
    elif isinstance(layer, _TRANSPOSED):
        layer.call = _transposed_convolution(layer, layer.compute_output_shape)
    elif not isinstance(layer, keras.layers.Dense):
        layer.filters = -1  # Used only to reshape the bias.
        if hasattr(layer, "convolution_op"):
            layer.convolution_op = _plain_convolution(layer.convolution_op)


def _plain_convolution(convolve: Callable[..., Any]) -> Callable[..., Any]:
    """`convolve` on the kernel's value instead of the variable.

    Keras compares the input's channels with those of the variable. Where the former are open it
    takes the convolution for a grouped one and compiles it with XLA, anew for every shape.
    """
    return lambda inputs, kernel: convolve(inputs, tf.convert_to_tensor(kernel))


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
