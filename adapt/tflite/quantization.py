"""Scale and zero point of a kernel's operands, where the caller gives none.

A kernel does not carry its scales: they change neither the time nor the energy that it takes. A
file needs them nevertheless, and the runtime refuses, or does not delegate, what breaks the rules
of the TensorFlow Lite 8-bit specification. The defaults here keep those rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adapt.tflite.ops import Operator
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["Quantization", "complete_quantization"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = scale * (stored - zero point); one pair a tensor, or one pair a channel."""

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


# One scale for all activations satisfies each operator that wants the same scale in and out
# (pooling, padding, reshaping, concatenation ...); a power of two, which 16-bit ADD and SUB need.
# The zero point is off centre, as calibrated ones are: XNNPACK takes a BATCH_MATMUL of two
# activations only at zero, which would measure what no network does.
_ACTIVATION = {
    "int8": Quantization((1 / 16,), (-5,)),
    "uint8": Quantization((1 / 16,), (123,)),
    "int16": Quantization((1 / 4096,), (0,)),
}

# Weights are symmetric.
_WEIGHT_ZERO = {"int8": 0, "uint8": 128, "int16": 0}

# Operators whose output range is known: the runtime checks for exactly these.
_UNIT = {
    "int8": Quantization((1 / 256,), (-128,)),
    "uint8": Quantization((1 / 256,), (0,)),
    "int16": Quantization((1 / 32768,), (0,)),
}
_SIGNED_UNIT = {
    "int8": Quantization((1 / 128,), (0,)),
    "uint8": Quantization((1 / 128,), (128,)),
    "int16": Quantization((1 / 32768,), (0,)),
}
_OUTPUT = {
    "SOFTMAX": _UNIT,
    "LOGISTIC": _UNIT,
    "TANH": _SIGNED_UNIT,
    "L2_NORMALIZATION": _SIGNED_UNIT,
    "LOG_SOFTMAX": {
        "int8": Quantization((16 / 256,), (127,)),
        "uint8": Quantization((16 / 256,), (255,)),
    },
    # Another scale than at the input, or there would be nothing to do.
    "QUANTIZE": {dtype: Quantization((1 / 8,), q.zero_points) for dtype, q in _ACTIVATION.items()},
}
# The 8-bit RSQRT stops at a stored value below the zero point.
_INPUT = {"RSQRT": {"int8": Quantization((1 / 16,), (-128,))}}

# Full range of 8-bit weights, before the division by the root of the number of products summed.
_WEIGHT_SCALE = 1 / 127


def fan_in(entry: Operator, weights: Tensor) -> int:
    """How many products are summed for one output value of a product with weights."""
    if entry.role is None or len(weights.shape) <= entry.role.channel_axis:
        return 1
    return max(1, math.prod(weights.shape) // max(1, weights.shape[entry.role.channel_axis]))


def complete_quantization(
    kernel: Kernel, entry: Operator, given: Mapping[int, Quantization] | None
) -> dict[int, Quantization]:
    """Quantisation of each operand that has one, by position: inputs first, then outputs.

    What is `given` stays; a bias that is not given gets the scale of its product, as the runtime
    demands.
    """
    operands = (*kernel.inputs, *kernel.outputs)
    result = dict(given or {})
    for position, tensor in enumerate(operands):
        if tensor is None or tensor.values is not None or tensor.dtype not in _ACTIVATION:
            continue
        result.setdefault(position, _default(kernel, entry, position, tensor))
    bias = entry.role.bias if entry.role else len(operands)
    if bias < len(kernel.inputs) and bias not in result:
        product = _product(kernel, entry, result)
        if product is not None:
            result[bias] = product
    return result


def _default(kernel: Kernel, entry: Operator, position: int, tensor: Tensor) -> Quantization:
    activation = _ACTIVATION[tensor.dtype]
    if position >= len(kernel.inputs):
        return _OUTPUT.get(kernel.op, {}).get(tensor.dtype, activation)
    if entry.role and position == entry.role.weights:
        scale = float(np.float32(_WEIGHT_SCALE / math.sqrt(fan_in(entry, tensor))))
        axis = tensor.quantized_axis
        channels = 1 if axis is None else tensor.shape[axis]
        return Quantization((scale,) * channels, (_WEIGHT_ZERO[tensor.dtype],) * channels)
    return _INPUT.get(kernel.op, {}).get(tensor.dtype, activation)


def _product(
    kernel: Kernel, entry: Operator, known: Mapping[int, Quantization]
) -> Quantization | None:
    """Quantisation of an integer bias: scale of the input times scale of the weights."""
    role = entry.role
    bias = kernel.inputs[role.bias] if role else None
    if role is None or bias is None or bias.values is not None:
        return None
    if bias.dtype not in ("int32", "int64") or not {role.data, role.weights} <= known.keys():
        return None
    data = np.float32(known[role.data].scales[0])
    scales = data * np.asarray(known[role.weights].scales, np.float32)
    return Quantization(tuple(scales.tolist()), (0,) * len(scales))
