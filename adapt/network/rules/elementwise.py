"""Operations on each channel by itself: activations, pooling, arithmetic, scales."""

from __future__ import annotations

import keras
import numpy as np

from adapt.network.graph import Call
from adapt.network.identities import Identities, Ids, Setting
from adapt.network.rules.registry import NotFollowed, layer_rule, operation_rule, use

__all__: list[str] = []


@layer_rule(
    "Activation", "ActivityRegularization", "AlphaDropout", "AveragePooling1D", "AveragePooling2D",
    "AveragePooling3D", "CenterCrop", "Cropping1D", "Cropping2D", "Cropping3D", "Dropout", "ELU",
    "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
    "Identity", "LeakyReLU", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "RandomFlip",
    "RandomRotation", "RandomTranslation", "RandomZoom", "ReLU", "RepeatVector", "Resizing",
    "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth",
    "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D",
)  # fmt: skip
@operation_rule(
    "Abs", "Absolute", "Cast", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid",
    "HardSilu", "HardTanh", "LeakyRelu", "Log", "LogSigmoid", "Mish", "Negative", "Relu", "Relu6",
    "Resize", "Rsqrt", "Selu", "Sigmoid", "Silu", "Softmax", "Softplus", "Softsign", "Sqrt",
    "Square", "Tanh",
)  # fmt: skip
def _pass_on(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    noise = getattr(call.operation, "noise_shape", None)
    if noise is not None and noise[-1] not in (None, 1):
        raise NotFollowed("its noise has a fixed number of channels")
    return [inputs[0]]


@layer_rule("InputLayer")
def _input(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    outputs = [ids.fresh(call.channels(t)) for t in call.outputs]
    for out in outputs:
        ids.freeze(out)
    return outputs


@layer_rule("PReLU")
def _prelu(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    alpha = call.operation.alpha
    if alpha.shape[-1] == len(inputs[0]):
        use(call, alpha, len(alpha.shape) - 1, inputs[0], ids)
    return [inputs[0]]


@layer_rule("LayerScale")
def _layer_scale(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    use(call, call.operation.gamma, 0, inputs[0], ids)
    ids.sizes[Setting(call.name, "projection_dim")] = inputs[0]
    return [inputs[0]]


@layer_rule("Rescaling", "Normalization")
def _rescaling(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    scales = [getattr(call.operation, name, 0) for name in ("scale", "offset")]
    is_by_channel = call.kind == "Normalization" or any(np.size(scale) != 1 for scale in scales)
    if is_by_channel and not ids.are_frozen(inputs[0]):
        raise NotFollowed("one scale for each channel")
    return [inputs[0]]


@layer_rule("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
@operation_rule("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum",
                "Power")  # fmt: skip
def _arithmetic(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    constants = [c for c in keras.tree.flatten(call.args) if not isinstance(c, keras.KerasTensor)]
    if any(c is not None and np.ndim(c) and np.shape(c)[-1] != 1 for c in constants):
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
