"""The graph of a Keras functional model as a plain list of calls, in execution order.

The one place that reads Keras's own graph records, so that the rest of the package does not
depend on how Keras keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

__all__ = ["Call", "calls", "channels", "last_operation", "new_input", "variables"]


@dataclass(frozen=True)
class Call:
    """One use of an operation: Keras tensors in, Keras tensors out. A shared layer has several.

    `constants` are the other positional arguments, such as the 3 of `x + 3`.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    constants: tuple[Any, ...] = ()

    @property
    def kind(self) -> str:
        """Class name of the operation, e.g. `Conv2D`."""
        return type(self.operation).__name__

    @property
    def name(self) -> str:
        """Name of the operation, unique in its model."""
        return str(self.operation.name)


def calls(model: keras.Model) -> Iterator[Call]:
    """Every call of a functional `model`, each after the calls that make its inputs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            flat = keras.tree.flatten(node.arguments.args)
            constants = (a for a in flat if not isinstance(a, keras.KerasTensor) and a is not None)
            yield Call(
                node.operation,
                tuple(node.input_tensors),
                tuple(node.output_tensors),
                tuple(constants),
            )


def last_operation(model: keras.Model) -> Any:
    """The operation that makes the one output of `model`."""
    return model.outputs[0]._keras_history.operation


def new_input(model: keras.Model) -> keras.KerasTensor:
    """A tensor like the one input of `model`, of the same name, for any batch.

    A clone's own input would be named after the number of tensors made so far.
    """
    (tensor,) = model.inputs
    name = tensor._keras_history.operation.name
    return keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)


def channels(tensor: Any) -> int | None:
    """Size of a tensor's last axis, its channels; None where it is open or the tensor is scalar."""
    return tensor.shape[-1] if len(tensor.shape) > 1 else None


def variables(operation: Any) -> list[Any]:
    """Variables of an operation in the order of Keras; empty for one without any."""
    return list(getattr(operation, "variables", ()))
