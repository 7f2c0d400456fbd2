"""A TensorFlow Lite file put together tensor by tensor and operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from adapt.tflite.constants import Array
from adapt.tflite.ops import BUILTIN_CODES, TENSOR_TYPES, Operator
from adapt.tflite.quantization import Quantization
from lookup_tables.kernel import Tensor

__all__ = ["Assembly"]

# Version of the schema: the only one that was ever in use.
_SCHEMA_VERSION = 3

# `deprecated_builtin_code` is a byte and holds this where the code does not fit in it.
_DEPRECATED_CODE_LIMIT = BUILTIN_CODES["PLACEHOLDER_FOR_GREATER_OP_CODES"]

# The converter aligns constants to this many bytes, and unaligned weights would be slower.
_CONSTANT_ALIGNMENT = 16

# Room for everything but the constants; more is found where it does not suffice.
_OVERHEAD_BYTES = 4096


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


@dataclass(frozen=True, slots=True)
class _Node:
    """One operator of a model; operands by index of their tensor, -1 for none."""

    entry: Operator
    options: Any
    inputs: Sequence[int]
    outputs: Sequence[int]


class Assembly:
    """A model in the making. Tensors are known by the index that `add_tensor` gives; -1 is none."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers = [_Buffer()]
        self._nodes: list[_Node] = []

    def add_tensor(
        self, name: str, tensor: Tensor, scales: Quantization | None, data: Array | None = None
    ) -> int:
        """Add a tensor, with `data` where it is a constant; return its index.

        Raises InputError where there are not as many scales as the tensor needs.
        """
        buffer = 0
        if data is not None:
            buffer = len(self._buffers)
            self._buffers.append(_Buffer(data))
        self._tensors.append(_tensor(name, tensor, buffer, scales))
        return len(self._tensors) - 1

    def add_operator(
        self, entry: Operator, options: Any, inputs: Sequence[int], outputs: Sequence[int]
    ) -> None:
        """Add an operator; `options` is the schema's object, or None."""
        self._nodes.append(_Node(entry, options, inputs, outputs))

    def finish(self, outputs: Sequence[int]) -> bytes:
        """The file; the model's inputs are what no operator writes and no buffer holds."""
        entries = list(dict.fromkeys(node.entry for node in self._nodes))
        written = {index for node in self._nodes for index in node.outputs}
        fed = [i for i, t in enumerate(self._tensors) if t.buffer == 0 and i not in written]
        graph = schema.SubGraphT(
            tensors=self._tensors,
            inputs=np.array(fed, np.int32),
            outputs=np.array(outputs, np.int32),
            operators=[_operator(node, entries.index(node.entry)) for node in self._nodes],
            name="main",
        )
        model = schema.ModelT(
            version=_SCHEMA_VERSION,
            operatorCodes=[_operator_code(entry) for entry in entries],
            subgraphs=[graph],
            buffers=self._buffers,
        )
        constants = sum(each.data.nbytes for each in self._buffers if each.data is not None)
        builder = flatbuffers.Builder(constants + _OVERHEAD_BYTES)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(memoryview(builder.Bytes)[builder.Head() :])


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


def _operator(node: _Node, code: int) -> Any:
    made = schema.OperatorT(
        opcodeIndex=code,
        inputs=np.array(node.inputs, np.int32),
        outputs=np.array(node.outputs, np.int32),
        builtinOptions=node.options,
    )
    if node.entry.options_table is not None:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, node.entry.options_table)
    return made


def _operator_code(entry: Operator) -> Any:
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(entry.code, _DEPRECATED_CODE_LIMIT),
        builtinCode=entry.code,
        version=entry.version,
    )
