"""The graph of a Keras functional model as a plain list of calls, in execution order.

The one place that reads Keras's own graph records, so that the rest of the package does not
depend on how Keras keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

__all__ = [
    "Call", "calls", "channel_slice", "copied", "gives_logits", "is_slice", "last_activation",
    "last_operation",
    "new_inputs", "variables",
]  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One use of an operation: Keras tensors in, Keras tensors out. A shared layer has several.

    `args` and `kwargs` are all arguments of the call, with the tensors `inputs` among them.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Class name of the operation, e.g. `Conv2D`."""
        return type(self.operation).__name__

    @property
    def name(self) -> str:
        """Name of the operation, unique in its model."""
        return str(self.operation.name)

    @staticmethod
    def channels(tensor: Any) -> int:
        """Size of a tensor's last axis, its channels; 1 where it is open or a scalar's."""
        return (tensor.shape[-1] if len(tensor.shape) > 1 else None) or 1


def calls(model: keras.Model) -> Iterator[Call]:
    """Every call of a functional `model`, each after the calls that make its inputs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            yield Call(
                node.operation,
                tuple(node.input_tensors),
                tuple(node.output_tensors),
                node.arguments.args,
                node.arguments.kwargs,
            )


def copied(operation: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A new operation with the settings that `change` makes of this one's.

    It is the same operation where Keras cannot make another: a Lambda, whose settings are Python
    code, and plain operations on data of their own. An operation that several models share keeps
    all of them in memory.
    """
    if isinstance(operation, keras.layers.Lambda):
        return operation
    try:
        config = operation.get_config()
    except NotImplementedError:
        if isinstance(operation, keras.layers.Layer):
            raise
        return operation
    return type(operation).from_config(change(config))


def is_slice(operation: Any) -> bool:
    """Whether it takes parts of a tensor, as `x[..., 2:5]`; what it takes are its arguments."""
    return type(operation).__name__ == "GetItem"


def channel_slice(call: Call) -> slice | None:
    """The channels that a call of GetItem takes; None where it takes no range of them."""
    tensor, key = call.args
    entries = list(key) if isinstance(key, list | tuple) else [key]
    has_ellipsis = any(entry is Ellipsis for entry in entries[:-1])
    consumed = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if not has_ellipsis and consumed < len(tensor.shape):
        return slice(None)  # It does not reach the last axis.
    last = entries[-1]
    return last if isinstance(last, slice) and last.step in (None, 1) else None


def last_operation(model: keras.Model) -> Any:
    """The operation that makes the one output of `model`."""
    return model.outputs[0]._keras_history.operation


def gives_logits(model: keras.Model) -> bool:
    """Whether the outputs are scores to be put through a softmax, not probabilities."""
    return last_activation(model) != "softmax"


def last_activation(model: keras.Model) -> str:
    """The name of the activation that makes the one output; linear where it is of another layer."""
    tensor = model.outputs[0]
    while True:
        operation, index, _ = tensor._keras_history
        kind = type(operation).__name__
        name = getattr(getattr(operation, "activation", None), "__name__", "linear")
        if kind in _ACTIVATIONS or name != "linear":
            return _ACTIVATIONS.get(kind, name)
        if kind not in _UNCHANGING:
            return "linear"
        # Of a shared layer, the call that made this tensor.
        (tensor,) = operation._inbound_nodes[index].input_tensors


# Layers and functions that are an activation, and layers that leave the numbers as they are.
_ACTIVATIONS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hard_sigmoid",
    "Tanh": "tanh",
    "HardTanh": "hard_tanh",
    "Softsign": "softsign",
}
_UNCHANGING = {"Activation", "Dropout", "Flatten", "Identity", "Reshape"}


def new_inputs(model: keras.Model) -> Any:
    """Tensors like the inputs of `model`, of the same names and structure, for any batch.

    A clone's own inputs would be named after the number of tensors made so far.
    """

    def new(tensor: Any) -> keras.KerasTensor:
        name = tensor._keras_history.operation.name
        return keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)

    return keras.tree.map_structure(new, model.input)


def variables(operation: Any) -> list[Any]:
    """Variables of an operation in the order of Keras; empty for one without any."""
    return list(getattr(operation, "variables", ()))
