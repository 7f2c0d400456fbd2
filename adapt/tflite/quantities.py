"""What a kernel needs, counted from its shapes alone."""

from __future__ import annotations

import math

import numpy as np

from lookup_tables.kernel import Kernel, Tensor

__all__ = ["activation_bytes", "macs", "tensor_bytes", "weight_bytes"]


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes that the elements of a tensor take."""
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize


def weight_bytes(kernel: Kernel) -> int:
    """Bytes of a kernel's constants: weights and biases, without the integers that steer it."""
    return sum(
        tensor_bytes(tensor)
        for tensor in kernel.inputs
        if tensor is not None and tensor.constant and tensor.values is None
    )


def activation_bytes(kernel: Kernel) -> int:
    """Bytes that a kernel reads and writes, constants aside."""
    tensors = (*kernel.inputs, *kernel.outputs)
    return sum(tensor_bytes(each) for each in tensors if each is not None and not each.constant)


def macs(kernel: Kernel) -> int:
    """Multiply-accumulates of one call, padding counted as if it were data; 0 for other operators.

    Each output value of a convolution sums one product for each weight of its filter, so the
    weights' own shape, `[out, height, width, in / groups]`, already accounts for groups; depthwise
    weights are `[1, height, width, out]`. In a transposed convolution it is each input value that
    meets a filter `[out, height, width, in]` once for every output channel.
    """
    out = math.prod(kernel.outputs[0].shape)
    shapes = [() if tensor is None else tensor.shape for tensor in kernel.inputs]
    if kernel.op == "CONV_2D":
        return out * math.prod(shapes[1][1:])
    if kernel.op == "DEPTHWISE_CONV_2D":
        return out * math.prod(shapes[1][1:3])
    if kernel.op == "FULLY_CONNECTED":
        return out * shapes[1][-1]
    if kernel.op == "TRANSPOSE_CONV":
        return math.prod(shapes[2]) * math.prod(shapes[1][:3])
    if kernel.op == "BATCH_MATMUL":
        return out * shapes[0][-2 if kernel.option("adj_x") == "true" else -1]
    return 0
