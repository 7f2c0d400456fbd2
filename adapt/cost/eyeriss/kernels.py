"""Kernels of TensorFlow Lite as layers of the accelerator."""

from __future__ import annotations

import math

from adapt.cost.eyeriss.layer import Layer, Operand
from adapt.errors import InputError
from adapt.tflite.quantities import macs
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["WORD_BITS", "is_counted", "is_uncounted_work", "kernel_layer"]

# Fixed point of the chip; floats of a file would be quantised to it. Integers keep their width.
WORD_BITS = 16
_BITS = {"int8": 8, "uint8": 8, "int16": 16}

_COUNTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def is_counted(kernel: Kernel) -> bool:
    """Whether the accelerator computes this operator: convolutions and dense layers."""
    return kernel.op in _COUNTED


def is_uncounted_work(kernel: Kernel) -> bool:
    """Whether an operator multiplies and adds, but not in a way that the model knows."""
    return not is_counted(kernel) and macs(kernel) > 0


def kernel_layer(kernel: Kernel, name: str) -> Layer:
    """The layer that `kernel`, one that `is_counted`, computes for one image, without zeros.

    InputError where it is none, as in a damaged file.
    """
    data, weights = kernel.inputs[0], kernel.inputs[1]
    assert data is not None
    assert weights is not None
    output = kernel.outputs[0]
    if 0 in (*data.shape, *weights.shape, *output.shape):
        raise InputError(f"layer {name} has no values: {kernel}", "Each size is 1 or more.")
    if kernel.op == "FULLY_CONNECTED":
        return _dense(name, data, weights, output)
    return _convolution(kernel, name, data, weights, output)


def _dense(name: str, data: Tensor, weights: Tensor, output: Tensor) -> Layer:
    filters, channels = weights.shape
    # Rows of a matrix meet the same weights, as the positions of a 1 x 1 convolution do.
    rows = math.prod(output.shape) // filters
    return Layer(
        name=name,
        channels=channels,
        filters=filters,
        height=rows,
        width=1,
        kernel_height=1,
        kernel_width=1,
        stride_y=1,
        stride_x=1,
        out_height=rows,
        out_width=1,
        ifmap=_operand(data),
        ofmap=_operand(output),
        weight=_operand(weights),
    )


def _convolution(kernel: Kernel, name: str, data: Tensor, weights: Tensor, output: Tensor) -> Layer:
    _, height, width, channels = data.shape
    _, out_height, out_width, filters = output.shape
    kernel_height, kernel_width = weights.shape[1:3]
    depthwise = kernel.op == "DEPTHWISE_CONV_2D"
    strides = int(kernel.option("stride_h")), int(kernel.option("stride_w"))
    dilations = int(kernel.option("dilation_h_factor")), int(kernel.option("dilation_w_factor"))
    if kernel.option("padding") == "SAME":
        extents = (
            (kernel_height - 1) * dilations[0] + 1,
            (kernel_width - 1) * dilations[1] + 1,
        )
        height = max(height, (out_height - 1) * strides[0] + extents[0])
        width = max(width, (out_width - 1) * strides[1] + extents[1])
    return Layer(
        name=name,
        channels=channels,
        filters=filters,
        height=height,
        width=width,
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride_y=strides[0],
        stride_x=strides[1],
        out_height=out_height,
        out_width=out_width,
        groups=channels if depthwise else channels // weights.shape[3],
        dilation_y=dilations[0],
        dilation_x=dilations[1],
        ifmap=_operand(data),
        ofmap=_operand(output),
        weight=_operand(weights),
    )


def _operand(tensor: Tensor) -> Operand:
    return Operand(_BITS.get(tensor.dtype, WORD_BITS))
