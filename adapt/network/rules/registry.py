"""Finding the rule of an operation, and what rules have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from adapt.network.graph import Call, variables
from adapt.network.identities import Identities, Ids

__all__ = [
    "NotFollowed", "Rule", "follow", "followed_kinds", "layer_rule", "operation_rule", "use",
]  # fmt: skip

Rule = Callable[[Call, list[Ids], Identities], list[Ids]]

# Layers and plain operations, as in `x + 3`, may share a name and no more: the layer `Average` is
# elementwise, the operation takes a mean over an axis.
_LAYERS: dict[str, Rule] = {}
_OPERATIONS: dict[str, Rule] = {}

# Functions of one channel alone. Another function, such as a gated unit or one of the user's own,
# may mix channels.
_ELEMENTWISE = frozenset(
    {
        "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu",
        "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu",
        "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
        "squareplus", "tanh", "tanh_shrink", "threshold",
    }
)  # fmt: skip

# Functions over all channels: removing one changes the others, so that none can go.
_OVER_CHANNELS = frozenset({"log_softmax", "softmax", "sparsemax"})


class NotFollowed(Exception):
    """Why the channels of a call cannot be followed; the layer is then kept whole."""


def layer_rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register the rule for the layers of these class names."""
    return _registrar(_LAYERS, kinds)


def operation_rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register the rule for the plain operations of these class names."""
    return _registrar(_OPERATIONS, kinds)


def followed_kinds() -> tuple[str, ...]:
    """Class names of the layers that have a rule, sorted."""
    return tuple(sorted(_LAYERS))


def follow(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """Ids of the call's outputs; raises NotFollowed where they cannot be told."""
    rule = _rule_of(call.operation)
    if rule is None:
        raise NotFollowed(f"no rule for {call.kind}")
    if getattr(call.operation, "data_format", None) == "channels_first":
        raise NotFollowed("channels come first")
    for layer in _with_sublayers(call.operation):
        if getattr(layer, "quantization_mode", None):
            raise NotFollowed("its weights are quantised")
        if getattr(layer, "lora_enabled", False):
            raise NotFollowed("its weights have a low-rank addition")
    activation = _activation(call)
    if activation not in _ELEMENTWISE | _OVER_CHANNELS:
        raise NotFollowed(f"no rule for the activation {activation}")
    outputs = rule(call, inputs, ids)
    if activation in _OVER_CHANNELS:
        for out in outputs:
            ids.freeze(out)
    return outputs


def use(
    call: Call, variable: Any, axis: int, carried: Ids, ids: Identities, *, produces: bool = False
) -> None:
    """Note that `axis` of a `variable` of the call's operation carries ids; None is no variable."""
    if variable is None:
        return
    for number, own in enumerate(variables(call.operation)):
        if own is variable:
            ids.use((call.name, number), axis, carried, produces=produces)
            return
    raise NotFollowed("it computes its weights")


def _registrar(rules: dict[str, Rule], kinds: tuple[str, ...]) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        rules.update(dict.fromkeys(kinds, function))
        return function

    return register


def _rule_of(operation: Any) -> Rule | None:
    """The rule of an operation that is Keras' own: a user's of the same name may do anything."""
    if not type(operation).__module__.startswith("keras."):
        return None
    is_layer = isinstance(operation, keras.layers.Layer)
    return (_LAYERS if is_layer else _OPERATIONS).get(type(operation).__name__)


def _with_sublayers(operation: Any) -> list[Any]:
    if isinstance(operation, keras.layers.Layer):
        return list(operation._flatten_layers())
    return [operation]


def _activation(call: Call) -> str:
    """Name of the function that ends the operation, "linear" where there is none."""
    if call.kind == "Softmax":
        return "softmax" if _is_over_channels(call) else "linear"
    activation = getattr(call.operation, "activation", None)
    if activation is None:
        return "linear"
    name = getattr(activation, "__name__", type(activation).__name__)
    is_own = str(getattr(activation, "__module__", "")).startswith(("keras.", "tensorflow."))
    return name if is_own else f"{name} of custom code"


def _is_over_channels(call: Call) -> bool:
    rank = len(call.inputs[0].shape)
    axes = keras.tree.flatten(call.operation.axis)
    return any(axis % rank == rank - 1 for axis in axes)
