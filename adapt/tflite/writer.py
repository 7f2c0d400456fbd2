"""A kernel as a TensorFlow Lite file of one operator, written straight as a flatbuffer.

About a thousand times as fast as converting a Keras layer, and the runtime computes bitwise the
same with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from adapt.tflite.constants import Array, random_constant
from adapt.tflite.ops import (
    BUILTIN_CODES,
    TENSOR_TYPES,
    Operator,
    check_operands,
    make_kernel,
    operator,
)
from adapt.tflite.quantities import tensor_bytes
from adapt.tflite.quantization import Quantization, complete_quantization
from lookup_tables.kernel import DTYPES, Kernel, Tensor

__all__ = ["null_kernel", "write_kernel"]

# Version of the schema: the only one that was ever in use.
_SCHEMA_VERSION = 3

# `deprecated_builtin_code` is a byte and holds this where the code does not fit in it.
_DEPRECATED_CODE_LIMIT = BUILTIN_CODES["PLACEHOLDER_FOR_GREATER_OP_CODES"]

# The converter aligns constants to this many bytes, and unaligned weights would be slower.
_CONSTANT_ALIGNMENT = 16

# Room for everything but the constants; more is found where it does not suffice.
_OVERHEAD_BYTES = 4096

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
    _check(kernel)
    scales = complete_quantization(kernel, entry, quantization)
    buffers: list[_Buffer] = [_Buffer()]
    tensors: list[Any] = []
    for position, tensor in enumerate((*kernel.inputs, *kernel.outputs)):
        if tensor is None:
            continue
        index = 0
        if tensor.constant and position < len(kernel.inputs):
            data = _constant(kernel, entry, position, tensor, constants or {}, seed)
            index = len(buffers)
            buffers.append(_Buffer(data))
        tensors.append(_tensor(f"t{position}", tensor, index, scales.get(position)))
    return _pack(_model(entry, _options(kernel, entry), kernel, tensors, buffers))


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Stands in for the schema's BufferT, whose own data is aligned to four bytes only."""

    data: Array | None = None

    def Pack(self, builder: Any) -> int:  # noqa: N802 (called by the generated code)
        vector = None
        if self.data is not None:
            payload = np.ascontiguousarray(self.data).reshape(-1).view(np.uint8)
            builder.StartVector(1, payload.size, _CONSTANT_ALIGNMENT)
            builder.head -= payload.size
            # Through a view, since a bytearray copies whatever is assigned to its slice twice.
            with memoryview(builder.Bytes) as stored:
                stored[builder.head : builder.head + payload.size] = payload.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _check(kernel: Kernel) -> None:
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


def _tensor(name: str, tensor: Tensor, buffer: int, scales: Quantization | None) -> Any:
    result = schema.TensorT(
        shape=np.array(tensor.shape, np.int32),
        type=TENSOR_TYPES[tensor.dtype],
        buffer=buffer,
        name=name,
        hasRank=True,
    )
    if scales is not None:
        axis = tensor.quantized_axis
        expected = 1 if axis is None else tensor.shape[axis]
        if not len(scales.scales) == len(scales.zero_points) == expected:
            raise InputError(f"{tensor}: {len(scales.scales)} scales where {expected} are due")
        result.quantization = schema.QuantizationParametersT(
            scale=np.array(scales.scales, np.float32),
            zeroPoint=np.array(scales.zero_points, np.int64),
            quantizedDimension=axis or 0,
        )
    return result


def _options(kernel: Kernel, entry: Operator) -> Any:
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


def _model(
    entry: Operator, options: Any, kernel: Kernel, tensors: list[Any], buffers: list[_Buffer]
) -> Any:
    """The schema's model object: `tensors` holds the operands that are not None, in order."""
    present = [position for position, t in enumerate(kernel.inputs) if t is not None]
    index = {position: i for i, position in enumerate(present)}
    inputs = [index.get(position, -1) for position in range(len(kernel.inputs))]
    outputs = list(range(len(present), len(tensors)))
    fed = [i for i in range(len(present)) if tensors[i].buffer == 0]
    node = schema.OperatorT(
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
        builtinOptions=options,
    )
    if entry.options_table is not None:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, entry.options_table)
    graph = schema.SubGraphT(
        tensors=tensors,
        inputs=np.array(fed, np.int32),
        outputs=np.array(outputs, np.int32),
        operators=[node],
        name="main",
    )
    code = schema.OperatorCodeT(
        deprecatedBuiltinCode=min(entry.code, _DEPRECATED_CODE_LIMIT),
        builtinCode=entry.code,
        version=entry.version,
    )
    return schema.ModelT(
        version=_SCHEMA_VERSION, operatorCodes=[code], subgraphs=[graph], buffers=buffers
    )


def _pack(model: Any) -> bytes:
    constants = sum(buffer.data.nbytes for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(constants + _OVERHEAD_BYTES)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(memoryview(builder.Bytes)[builder.Head() :])
