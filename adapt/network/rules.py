"""How each kind of Keras operation treats the channels of its inputs.

A rule takes the call, the ids of its inputs' last axes and the `Identities`, notes which variable
axes carry which ids, and returns the ids of the outputs. `follow` finds the rule; an operation
without one, or one used in a way that its rule does not know, raises `NotFollowed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from adapt.network.graph import Call, channels, variables
from adapt.network.identities import Identities, Ids

__all__ = ["NotFollowed", "follow", "followed_kinds"]

Rule = Callable[[Call, list[Ids], Identities], list[Ids]]
_RULES: dict[str, Rule] = {}

# Rules that hold for the plain operation of that name too, as in `x + 3`. Others share no more
# than the name: the layer `Average` is elementwise, the operation takes a mean over an axis.
_PLAIN_OPERATIONS = frozenset(
    {"Add", "Concatenate", "Maximum", "Minimum", "Multiply", "Softmax", "Subtract"}
)

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


def followed_kinds() -> tuple[str, ...]:
    """Class names of the operations that have a rule, sorted."""
    return tuple(sorted(_RULES))


def follow(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """Ids of the call's outputs; raises NotFollowed where they cannot be told."""
    rule = _RULES.get(call.kind)
    if rule is None or not _is_known(call.operation):
        raise NotFollowed(f"no rule for {call.kind}")
    if getattr(call.operation, "data_format", None) == "channels_first":
        raise NotFollowed("channels come first")
    if getattr(call.operation, "quantization_mode", None):
        raise NotFollowed("its weights are quantised")
    if getattr(call.operation, "lora_enabled", False):
        raise NotFollowed("its weights have a low-rank addition")
    activation = _activation(call.operation)
    if activation not in _ELEMENTWISE | _OVER_CHANNELS:
        raise NotFollowed(f"no rule for the activation {activation}")
    outputs = rule(call, inputs, ids)
    if activation in _OVER_CHANNELS:
        for out in outputs:
            ids.freeze(out)
    return outputs


def _rule(*kinds: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def _is_known(operation: Any) -> bool:
    """Whether it is Keras' own: a user's class of the same name may do anything."""
    if not type(operation).__module__.startswith("keras."):
        return False
    is_layer = isinstance(operation, keras.layers.Layer)
    return is_layer or type(operation).__name__ in _PLAIN_OPERATIONS


def _activation(operation: Any) -> str:
    """Name of the function that ends the operation, "linear" where there is none."""
    if type(operation).__name__ == "Softmax":
        return "softmax"
    activation = getattr(operation, "activation", None)
    if activation is None:
        return "linear"
    name = getattr(activation, "__name__", type(activation).__name__)
    is_own = str(getattr(activation, "__module__", "")).startswith(("keras.", "tensorflow."))
    return name if is_own else f"{name} of custom code"


def _variable(call: Call, attribute: str) -> tuple[str, int] | None:
    """Key of the variable that a layer keeps under `attribute`; None where it has none."""
    wanted = getattr(call.operation, attribute, None)
    for number, variable in enumerate(variables(call.operation)):
        if variable is wanted:
            return call.name, number
    return None


def _use(
    call: Call, attribute: str, axis: int, carried: Ids, ids: Identities, *, produces: bool = False
) -> None:
    variable = _variable(call, attribute)
    if variable is not None:
        ids.use(variable, axis, carried, produces=produces)


@_rule("InputLayer")
def _input(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    outputs = [ids.fresh(channels(t) or 1) for t in call.outputs]
    for out in outputs:
        ids.freeze(out)
    return outputs


@_rule("Conv1D", "Conv2D", "Conv3D")
def _conv(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    if call.operation.groups != 1:
        raise NotFollowed(f"{call.operation.groups} convolution groups")
    rank = len(call.operation.kernel.shape)
    out = ids.fresh(call.operation.filters)
    _use(call, "kernel", rank - 2, inputs[0], ids)
    _use(call, "kernel", rank - 1, out, ids, produces=True)
    _use(call, "bias", 0, out, ids)
    ids.sizes[call.name, "filters"] = out
    return [out]


@_rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def _conv_transpose(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.operation.kernel.shape)
    out = ids.fresh(call.operation.filters)
    _use(call, "kernel", rank - 1, inputs[0], ids)
    _use(call, "kernel", rank - 2, out, ids, produces=True)
    _use(call, "bias", 0, out, ids)
    ids.sizes[call.name, "filters"] = out
    return [out]


@_rule("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    # Output channel c * multiplier + m comes from input channel c.
    out: Ids = np.repeat(inputs[0], call.operation.depth_multiplier)
    rank = len(call.operation.kernel.shape)
    _use(call, "kernel", rank - 2, inputs[0], ids)
    _use(call, "bias", 0, out, ids)
    return [out]


@_rule("SeparableConv1D", "SeparableConv2D")
def _separable(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.operation.depthwise_kernel.shape)
    out = ids.fresh(call.operation.filters)
    between: Ids = np.repeat(inputs[0], call.operation.depth_multiplier)
    _use(call, "depthwise_kernel", rank - 2, inputs[0], ids)
    _use(call, "pointwise_kernel", rank - 2, between, ids)
    _use(call, "pointwise_kernel", rank - 1, out, ids, produces=True)
    _use(call, "bias", 0, out, ids)
    ids.sizes[call.name, "filters"] = out
    return [out]


@_rule("Dense")
def _dense(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    out = ids.fresh(call.operation.units)
    _use(call, "kernel", 0, inputs[0], ids)
    _use(call, "kernel", 1, out, ids, produces=True)
    _use(call, "bias", 0, out, ids)
    ids.sizes[call.name, "units"] = out
    return [out]


@_rule("BatchNormalization")
def _batch_norm(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    axis = call.operation.axis
    axis = axis[0] if isinstance(axis, list | tuple) else axis
    if axis % len(call.inputs[0].shape) != len(call.inputs[0].shape) - 1:
        raise NotFollowed("normalises an axis other than the last")
    if getattr(call.operation, "renorm", False):
        raise NotFollowed("batch renormalisation")
    for attribute in ("gamma", "beta", "moving_mean", "moving_variance"):
        _use(call, attribute, 0, inputs[0], ids)
    return [inputs[0]]


@_rule("PReLU")
def _prelu(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.operation.alpha.shape)
    if call.operation.alpha.shape[-1] == len(inputs[0]):
        _use(call, "alpha", rank - 1, inputs[0], ids)
    return [inputs[0]]


@_rule(
    "Activation", "ActivityRegularization", "AlphaDropout", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D", "Cropping1D", "Cropping2D", "Dropout", "ELU", "GaussianDropout",
    "GaussianNoise", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "Identity", "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D",
    "ReLU", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "UpSampling1D", "UpSampling2D",
    "ZeroPadding1D", "ZeroPadding2D", "RandomFlip", "RandomTranslation", "RandomRotation",
    "RandomZoom",
)  # fmt: skip
def _pass_on(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    noise = getattr(call.operation, "noise_shape", None)
    if noise is not None and noise[-1] not in (None, 1):
        raise NotFollowed("its noise has a fixed number of channels")
    return [inputs[0]]


@_rule("Rescaling")
def _rescaling(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    if np.size(call.operation.scale) != 1 or np.size(call.operation.offset) != 1:
        raise NotFollowed("one scale for each channel")
    return [inputs[0]]


@_rule("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
def _elementwise(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    if any(np.ndim(c) and np.shape(c)[-1] != 1 for c in call.constants):
        raise NotFollowed("a constant for each channel")
    widest = max(inputs, key=len)
    for operand in inputs:
        if len(operand) == len(widest):
            ids.unite(widest, operand)
        elif len(operand) != 1:
            raise NotFollowed("operands of different channel counts")
        else:
            ids.freeze(operand)  # It is spread over all channels of the other: one must remain.
    return [widest]


@_rule("Concatenate")
def _concatenate(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    rank = len(call.inputs[0].shape)
    if call.operation.axis % rank == rank - 1:
        return [np.concatenate(inputs)]
    for operand in inputs[1:]:
        ids.unite(inputs[0], operand)
    return [inputs[0]]


@_rule("Flatten")
def _flatten(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    size = channels(call.outputs[0])
    if size is None:
        raise NotFollowed("open spatial size")
    # Channels last: element i of the flat vector is channel i mod C.
    return [np.tile(inputs[0], size // len(inputs[0]))]


@_rule("Reshape")
def _reshape(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    before, after = call.inputs[0].shape[1:], call.outputs[0].shape[1:]
    if before[-1:] == after[-1:] and before:
        out = inputs[0]
    elif len(after) == 1 and before and None not in (*before, *after):
        out = np.tile(inputs[0], after[0] // before[-1])
    else:
        raise NotFollowed(f"reshapes {before} to {after}")
    if call.operation.target_shape[-1] != -1:
        # A second call of the same layer has the same target, and so as many channels.
        ids.unite(ids.sizes.setdefault((call.name, "target_shape"), out), out)
    return [out]
