"""A Keras network as a function of its weights, whatever its widths.

One traced graph then serves every proposal of a run: tracing costs 1-2 s a network, running a
step a tenth of that. Keras' own `stateless_call` refuses values whose shape differs from the
variable's; the layers themselves do not mind, apart from a few settings that repeat the channel
count, which `relaxed.py` opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import StatelessScope

from adapt.network import graph
from adapt.network.groups import ChannelGroups
from adapt.network.relaxed import relaxed

__all__ = ["ElasticNetwork", "Place"]

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
        self._model = relaxed(model, groups)
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
