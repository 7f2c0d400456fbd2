"""A kernel as a TensorFlow Lite file of one operator, written straight as a flatbuffer.

About a thousand times as fast as converting a Keras layer, and the runtime computes bitwise the
same with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from adapt.tflite.constants import Array, random_constant
from adapt.tflite.flatbuffer import Assembly
from adapt.tflite.ops import (
    Operator,
    check_operands,
    make_kernel,
    operator,
)
from adapt.tflite.quantities import tensor_bytes
from adapt.tflite.quantization import Quantization, complete_quantization
from lookup_tables.kernel import DTYPES, Kernel, Tensor

__all__ = ["check_kernel", "make_options", "null_kernel", "write_kernel"]

# Flatbuffers end at 2 GiB, and no layer of a network for a phone comes near half of that.
MAX_CONSTANT_BYTES = 1 << 30


def null_kernel() -> Kernel:
    """The kernel whose time is that of calling the runtime: RELU on one float32 element."""
    element = Tensor("float32", (1,))
    return make_kernel("RELU", [element], [element])


def write_kernel(
    kernel: Kernel,
    constants: Mapping[int, Array] | None = None,
    seed: int = 0,
    quantization: Mapping[int, Quantization] | None = None,
) -> bytes:
    """The .tflite file of `kernel` alone; the same bytes for the same arguments.

    Args:
        kernel: its non-constant inputs become the inputs of the model, in the same order.
        constants: contents of constant inputs by position, of the shape and type that the kernel
            says. Those not given are steering values or noise from `seed`.
        seed: of the noise.
        quantization: of operands by position, inputs first, then outputs. Those not given get a
            default that the runtime accepts.

    Raises:
        InputError: the operator is not in the table, its options are not those of the operator,
            or constants do not fit.
    """
    entry = operator(kernel.op)
    check_kernel(kernel)
    scales = complete_quantization(kernel, entry, quantization)
    assembly = Assembly()
    indices: list[int] = []
    for position, tensor in enumerate((*kernel.inputs, *kernel.outputs)):
        if tensor is None:
            indices.append(-1)
            continue
        data = None
        if tensor.constant and position < len(kernel.inputs):
            data = _constant(kernel, entry, position, tensor, constants or {}, seed)
        indices.append(assembly.add_tensor(f"t{position}", tensor, scales.get(position), data))
    inputs, outputs = indices[: len(kernel.inputs)], indices[len(kernel.inputs) :]
    assembly.add_operator(entry, make_options(kernel, entry), inputs, outputs)
    return assembly.finish(outputs)


def check_kernel(kernel: Kernel) -> None:
    """Refuse what the file format cannot hold; a kernel's text may come from anywhere."""
    check_operands(kernel)
    size = 0
    for tensor in (*kernel.inputs, *kernel.outputs):
        if tensor is None:
            continue
        where = f"{kernel.op}: {tensor}"
        if tensor.dtype not in DTYPES:
            raise InputError(f"{where}: element type {tensor.dtype} is not supported")
        if any(not 0 <= dim < 1 << 31 for dim in tensor.shape):
            raise InputError(f"{where}: a dimension is not a 32-bit size")
        axis = tensor.quantized_axis
        if axis is not None and axis >= len(tensor.shape):
            raise InputError(f"{where}: there is no axis {axis}")
        if tensor.values is not None:
            _check_values(where, tensor, tensor.values)
        size += tensor_bytes(tensor) if tensor.constant else 0
    if size > MAX_CONSTANT_BYTES:
        raise InputError(f"{kernel.op}: {size} bytes of constants, at most {MAX_CONSTANT_BYTES}")


def _check_values(where: str, tensor: Tensor, values: tuple[int, ...]) -> None:
    if not tensor.constant or tensor.dtype not in ("int32", "int64"):
        raise InputError(f"{where}: only constant integers have values")
    if len(values) != math.prod(tensor.shape):
        raise InputError(f"{where}: {len(values)} values for {math.prod(tensor.shape)} elements")
    bounds = np.iinfo(tensor.dtype)
    if any(not bounds.min <= value <= bounds.max for value in values):
        raise InputError(f"{where}: a value is out of range")


def _constant(
    kernel: Kernel,
    entry: Operator,
    position: int,
    tensor: Tensor,
    constants: Mapping[int, Array],
    seed: int,
) -> Array:
    data = constants.get(position)
    if data is None:
        return random_constant(tensor, entry, position, seed)
    if data.shape != tensor.shape or data.dtype != np.dtype(tensor.dtype):
        raise InputError(
            f"{kernel.op}: input {position} is {tensor}, its contents are"
            f" {data.dtype}{list(data.shape)}"
        )
    return data


def make_options(kernel: Kernel, entry: Operator) -> Any:
    """The schema's options object, or None for an operator that has no options table."""
    given = dict(kernel.options)
    expected = {option.name for option in entry.options}
    if given.keys() != expected:
        wrong = ", ".join(sorted(given.keys() ^ expected))
        raise InputError(f"{kernel.op}: options missing or unknown: {wrong}")
    if entry.options_table is None:
        return None
    options = getattr(schema, f"{entry.options_table}T")()
    for option in entry.options:
        setattr(options, option.attribute, option.parse(given[option.name]))
    if kernel.op == "RESHAPE" and len(kernel.inputs) == 1:
        options.newShape = np.array(kernel.outputs[0].shape, np.int32)
    return options
