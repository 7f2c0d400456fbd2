"""A Keras network as a function of its weights, whatever its widths.

One traced graph then serves every proposal of a run: tracing costs 1-2 s a network, running a
step a tenth of that. Keras' own `stateless_call` refuses values whose shape differs from the
variable's; the layers themselves do not mind, apart from a few settings that repeat the channel
count, which `relaxed.py` opens.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import StatelessScope

from adapt.network import graph
from adapt.network.groups import ChannelGroups
from adapt.network.relaxed import relaxed

__all__ = ["BatchNorm", "ElasticNetwork", "Place"]

# Layers whose kernel, their first variable, has the input's channels on its last axis but one.
_SUMMING = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Dense,
)

Place = tuple[str, int]
"""Where a variable stands: (operation name, index in the operation's variables)."""


@dataclass(frozen=True)
class BatchNorm:
    """Where a batch normalisation keeps its scale, shift and moving statistics.

    `scale` and `shift` are None where it has none. Each of its `calls` in a training step leaves
    `momentum` of the moving statistics as they were.
    """

    scale: Place | None
    shift: Place | None
    mean: Place
    variance: Place
    momentum: float
    calls: int


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

    def __init__(self, model: keras.Model, groups: ChannelGroups, *, mixed: bool = False) -> None:
        """With `mixed`, layers compute in bfloat16; weights and outputs stay float32."""
        self._model = relaxed(model, groups)
        if mixed:
            for call in graph.calls(self._model):
                if isinstance(call.operation, keras.layers.Layer):
                    call.operation.dtype_policy = "mixed_bfloat16"
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
    def activation_sizes(self) -> list[int]:
        """For one example of the unshrunk network, how many numbers each operation's output has."""
        return [
            math.prod(size or 1 for size in tensor.shape[1:])
            for call in graph.calls(self._model)
            for tensor in call.outputs
        ]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input with None for the batch."""
        return tuple(self._model.inputs[0].shape)

    @property
    def classes(self) -> int:
        """Numbers of an output."""
        return int(self._model.outputs[0].shape[-1])

    @property
    def gives_logits(self) -> bool:
        """Whether the outputs are scores to be put through a softmax, not probabilities."""
        return graph.gives_logits(self._model)

    @property
    def seeds(self) -> list[Place]:
        """Places of random-number state; a caller that wants reproducible dropout sets them."""
        return [p for p in self.state if "seed_generator" in self._variables[p].path]

    @property
    def batch_norms(self) -> list[BatchNorm]:
        """The batch normalisations that training changes; frozen ones stay as they are."""
        found = {}
        calls = Counter(call.name for call in graph.calls(self._model))
        for call in graph.calls(self._model):
            layer = call.operation
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                places = {id(v): (call.name, n) for n, v in enumerate(graph.variables(layer))}
                found[call.name] = BatchNorm(
                    scale=places[id(layer.gamma)] if layer.scale else None,
                    shift=places[id(layer.beta)] if layer.center else None,
                    mean=places[id(layer.moving_mean)],
                    variance=places[id(layer.moving_variance)],
                    momentum=float(layer.momentum),
                    calls=calls[call.name],
                )
        return list(found.values())

    @property
    def readers(self) -> list[Place]:
        """Places of kernels whose layer sums over the channels of its one input."""
        return list(self._inputs_read())

    def _inputs_read(self) -> dict[Place, list[Any]]:
        """What each of `readers` reads, call by call."""
        found: dict[Place, list[Any]] = defaultdict(list)
        for call in graph.calls(self._model):
            if isinstance(call.operation, _SUMMING) and getattr(call.operation, "groups", 1) == 1:
                found[call.name, 0].append(call.inputs[0])
        return found

    def read_by(
        self, kernels: Sequence[Place], trainable: Sequence[Any], state: Sequence[Any], x: Any
    ) -> list[Any]:
        """What each of `kernels`, all of `readers`, reads for a batch `x`; weights as `apply`.

        Of each a matrix [N, channels]: examples and pixels in rows, of all calls.
        """
        inputs = self._inputs_read()
        inner = keras.Model(self._model.inputs, [inputs[kernel] for kernel in kernels])
        with _ElasticScope(self._pairs(trainable, state)):
            reads = inner(x, training=False)
        return [tf.concat([_rows(read) for read in calls], axis=0) for calls in reads]

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
        """Outputs as the model has them for a batch `x` [N, ...], and new values of `state`."""
        with _ElasticScope(self._pairs(trainable, state)) as scope:
            outputs = self._model(x, training=training)
        y = tf.nest.map_structure(lambda each: tf.cast(each, tf.float32), outputs)
        return y, [scope.get_current_value(self._variables[p]) for p in self.state]

    def _pairs(self, trainable: Sequence[Any], state: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Each variable with the value that stands for it."""
        places = [*self.trainable, *self.state]
        values = [*trainable, *state]
        return [(self._variables[p], v) for p, v in zip(places, values, strict=True)]


def _rows(read: Any) -> Any:
    """`read` [..., channels] as a float32 matrix."""
    return tf.cast(tf.reshape(read, [-1, tf.shape(read)[-1]]), tf.float32)
