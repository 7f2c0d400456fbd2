"""A TensorFlow Lite file as a graph of kernels.

The file may come from anywhere: every index and length is checked, the work is bounded by the
size of the file, and whatever is wrong with it is an InputError. Constants are views into the
file's bytes, not copies.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from adapt.tflite.constants import Array
from adapt.tflite.graph import ABSENT, Edge, Node, OperatorGraph
from adapt.tflite.ops import (
    BUILTIN_CODES,
    OPERATORS,
    TENSOR_TYPES,
    Operator,
    camel,
    check_operands,
    default_options,
)
from adapt.tflite.quantization import Quantization
from lookup_tables.kernel import DTYPES, Kernel, Tensor

__all__ = ["read_kernels", "read_model"]

_IDENTIFIER = b"TFL3"

# Large networks have some thousands of each; unpacking one takes about 50 us.
MAX_TENSORS = 50_000
MAX_OPERATORS = 50_000

# The runtime's own operators end at 8 dimensions.
MAX_RANK = 16

# Bytes of vectors and names that are unpacked into Python values. A sound file holds each vector
# once, so its size bounds them; twice that, since writers may share equal vectors. The second
# number bounds time and memory for files of gigabytes, which consist of weights.
_UNPACKED_PER_BYTE = 2
MAX_UNPACKED_BYTES = 32 << 20

# Integer constants up to this many elements steer an operator (paddings, axes, shapes, indices of
# a small gather); longer ones are data.
MAX_STEERING_VALUES = 64
_STEERING_DTYPES = ("int32", "int64")

# A custom operator's name becomes part of a kernel's text.
_MAX_CUSTOM_NAME = 64

_BUILTIN_NAMES = {code: name for name, code in BUILTIN_CODES.items()}
_DTYPE_NAMES = {code: name for name, code in TENSOR_TYPES.items()}

# What the flatbuffer accessors raise on damaged bytes: offsets outside the file, vectors longer
# than it, union types without a table.
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)

# For each operator, the tensors that it reads and those that it writes.
_Wires = list[tuple[tuple[int, ...], tuple[int, ...]]]

_NOT_A_MODEL = "Give a .tflite file as the TensorFlow Lite converter writes it."


def read_kernels(content: bytes) -> list[Kernel]:
    """The kernels of a .tflite file in the order in which they run; see `read_model`."""
    return [node.kernel for node in read_model(content).operators]


def read_model(content: bytes) -> OperatorGraph:
    """The main graph of the .tflite file with these bytes.

    A dimension that the file leaves open (a batch) has the size that the file gives for it, 1.

    Raises:
        InputError: the bytes are not a sound TensorFlow Lite model.
    """
    if content[4:8] != _IDENTIFIER:
        raise InputError("not a TensorFlow Lite model: no TFL3 identifier", _NOT_A_MODEL)
    try:
        return _Reader(content).graph()
    except _DAMAGE as error:
        what = "a damaged TensorFlow Lite model: an offset or a length leads out of the file"
        raise InputError(what, _NOT_A_MODEL) from error


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise InputError(f"a damaged TensorFlow Lite model: {what}", _NOT_A_MODEL)


class _Reader:
    """One pass over one file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._model = schema.Model.GetRootAs(content, 0)
        self._allowance = min(_UNPACKED_PER_BYTE * len(content), MAX_UNPACKED_BYTES)

    def graph(self) -> OperatorGraph:
        _require(self._model.SubgraphsLength() > 0, "no graph in it")
        main = self._model.Subgraphs(0)
        _require(main.TensorsLength() <= MAX_TENSORS, "too many tensors")
        _require(main.OperatorsLength() <= MAX_OPERATORS, "too many operators")
        tensors = [self._edge(tensor) for tensor in self._tables(main, "Tensors")]
        inputs = self._indices(main, "Inputs", len(tensors))
        outputs = self._indices(main, "Outputs", len(tensors))
        raw = self._tables(main, "Operators")
        wired = [
            (
                self._indices(operator, "Inputs", len(tensors), optional=True),
                self._indices(operator, "Outputs", len(tensors)),
            )
            for operator in raw
        ]
        _mark_empty_constants(tensors, inputs, wired)
        _check_order(tensors, inputs, wired)
        nodes = [
            self._node(operator, tensors, *ends) for operator, ends in zip(raw, wired, strict=True)
        ]
        return OperatorGraph(tuple(tensors), tuple(nodes), inputs, outputs)

    def _spend(self, nbytes: int) -> None:
        self._allowance -= nbytes
        _require(self._allowance >= 0, "vectors longer than the file")

    def _tables(self, parent: Any, vector: str) -> list[Any]:
        length = getattr(parent, f"{vector}Length")()
        self._spend(4 * length)
        return [getattr(parent, vector)(i) for i in range(length)]

    def _numbers(self, parent: Any, vector: str) -> list[Any]:
        if getattr(parent, f"{vector}Length")() == 0:
            return []
        view: Array = getattr(parent, f"{vector}AsNumpy")()
        self._spend(view.nbytes)
        return list(view.tolist())

    def _indices(
        self, parent: Any, vector: str, count: int, optional: bool = False
    ) -> tuple[int, ...]:
        indices = tuple(self._numbers(parent, vector))
        least = ABSENT if optional else 0
        _require(all(least <= i < count for i in indices), "a tensor index out of range")
        return indices

    def _edge(self, tensor: Any) -> Edge:
        _require(tensor.ExternalBuffer() == 0, "its weights are in another file")
        shape = tuple(self._numbers(tensor, "Shape"))
        _require(len(shape) <= MAX_RANK and all(d >= 0 for d in shape), f"a shape of {shape}")
        name = tensor.Name() or b""
        self._spend(len(name))
        code = tensor.Type()
        dtype = _DTYPE_NAMES.get(code, f"type{code}")
        plain = dtype in DTYPES and tensor.Sparsity() is None
        raw = self._buffer(tensor.Buffer())
        data = None
        nbytes = len(raw) if raw is not None else 0
        if plain:
            size = math.prod(shape) * np.dtype(dtype).itemsize
            _require(raw is None or nbytes == size, f"{nbytes} bytes for {dtype}{list(shape)}")
            data, nbytes = (None if raw is None else raw.view(dtype)), size
        scales, axis, is_blockwise = self._quantization(tensor, shape)
        values = None
        if data is not None and scales is None and dtype in _STEERING_DTYPES:
            values = tuple(data.tolist()) if data.size <= MAX_STEERING_VALUES else None
        return Edge(
            name=name.decode(errors="replace"),
            tensor=Tensor(dtype, shape, raw is not None, values, axis),
            nbytes=nbytes,
            plain=plain and not is_blockwise,
            is_variable=tensor.IsVariable(),
            quantization=scales,
            data=data,
        )

    def _buffer(self, index: int) -> Array | None:
        """Bytes of a constant; None where the buffer is empty, as those of activations are."""
        # Buffer 0 is empty by definition, even in a file that leaves it out.
        if index == 0:
            return None
        _require(index < self._model.BuffersLength(), f"no buffer {index}")
        buffer = self._model.Buffers(index)
        if buffer.DataLength() > 0:
            view: Array = buffer.DataAsNumpy()
            return view
        # Files beyond 2 GiB keep constants behind the flatbuffer; offsets 0 and 1 say "not so".
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1 or size == 0:
            return None
        _require(start + size <= len(self._content), f"buffer {index} ends behind the file")
        return np.frombuffer(self._content, np.uint8, size, start)

    def _quantization(
        self, tensor: Any, shape: tuple[int, ...]
    ) -> tuple[Quantization | None, int | None, bool]:
        """Scales, the axis that they count where there are several, and whether block-wise."""
        found = tensor.Quantization()
        if found is None:
            return None, None, False
        is_blockwise = found.DetailsType() != 0
        scales = self._numbers(found, "Scale")
        zero_points = self._numbers(found, "ZeroPoint")
        if not scales:
            return None, None, is_blockwise
        _require(len(scales) == len(zero_points), "scales and zero points differ in number")
        axis = None
        if len(scales) > 1:
            axis = found.QuantizedDimension()
            _require(
                0 <= axis < len(shape) and shape[axis] == len(scales),
                f"{len(scales)} scales on axis {axis} of {list(shape)}",
            )
        return Quantization(tuple(scales), tuple(zero_points)), axis, is_blockwise

    def _node(
        self, operator: Any, tensors: list[Edge], inputs: tuple[int, ...], outputs: tuple[int, ...]
    ) -> Node:
        name = self._operator_name(operator.OpcodeIndex())
        edges = [tensors[i] for i in (*inputs, *outputs) if i != ABSENT]
        entry = OPERATORS.get(name)
        options: dict[str, str] = {}
        supported = entry is not None and all(edge.plain for edge in edges)
        if supported and entry is not None:
            options = self._options(operator, entry)
        kernel = Kernel.make(
            name,
            (None if i == ABSENT else tensors[i].tensor for i in inputs),
            (tensors[i].tensor for i in outputs),
            options,
        )
        if supported:
            check_operands(kernel)
        return Node(kernel, inputs, outputs, supported)

    def _operator_name(self, index: int) -> str:
        _require(index < self._model.OperatorCodesLength(), f"no operator code {index}")
        code = self._model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _BUILTIN_NAMES.get(number, f"BUILTIN_{number}")
        if name != "CUSTOM":
            return name
        custom = (code.CustomCode() or b"").decode(errors="replace")[:_MAX_CUSTOM_NAME]
        return "CUSTOM_" + re.sub(r"[^A-Z0-9]", "_", custom.upper())

    def _options(self, operator: Any, entry: Operator) -> dict[str, str]:
        """Options in canonical spelling; the schema's defaults where the file leaves them out."""
        found = operator.BuiltinOptionsType()
        if entry.options_table is None:
            return {}
        expected = getattr(schema.BuiltinOptions, entry.options_table)
        _require(found in (0, expected), f"options of another operator on {entry.name}")
        table = operator.BuiltinOptions() if found else None
        if table is None:
            return default_options(entry)
        options = getattr(schema, entry.options_table)()
        options.Init(table.Bytes, table.Pos)
        return {
            o.name: o.spell(
                self._numbers(options, camel(o.name))
                if o.kind == "ints"
                else getattr(options, camel(o.name))()
            )
            for o in entry.options
        }


def _mark_empty_constants(tensors: list[Edge], inputs: tuple[int, ...], wired: _Wires) -> None:
    """Make constants of tensors without elements that nothing produces: a RESHAPE to a scalar."""
    produced = {*inputs, *(i for _, outputs in wired for i in outputs)}
    for index, edge in enumerate(tensors):
        is_empty = edge.plain and edge.nbytes == 0
        if not is_empty or edge.tensor.constant or index in produced:
            continue
        dtype = edge.tensor.dtype
        values = () if dtype in _STEERING_DTYPES and edge.quantization is None else None
        tensors[index] = replace(
            edge,
            tensor=replace(edge.tensor, constant=True, values=values),
            data=np.empty(0, dtype),
        )


def _check_order(tensors: list[Edge], inputs: tuple[int, ...], wired: _Wires) -> None:
    """Every operand exists before it is read, and is written once."""
    known = {i for i, edge in enumerate(tensors) if edge.tensor.constant or edge.is_variable}
    known.update(inputs)
    for position, (operands, results) in enumerate(wired):
        for i in operands:
            _require(i == ABSENT or i in known, f"operator {position} reads tensor {i} too early")
        for i in results:
            _require(i not in known, f"operator {position} overwrites tensor {i}")
            known.add(i)
