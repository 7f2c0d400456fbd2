"""How the size of a .tflite file follows from the shapes of its tensors.

TensorFlow ends a conversion by packing the file with the Python flatbuffer builder, which writes
from the file's end to its beginning: of each tensor its scales and its zero points, then the
constants, last the root. What depends on a tensor's shape is the length of these vectors, and the
padding that aligns 8-byte zero points; everything else keeps its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.tflite.quantities import tensor_bytes
from lookup_tables.kernel import Tensor

__all__ = ["FileLayout"]

_SCALE_BYTES = 4
_ZERO_POINT_BYTES = 8

# Every object of a flatbuffer begins at a multiple of this, so that vectors are filled up to it.
_ALIGNMENT = 4

# A flatbuffer begins with the offset of its root and the identifier of its format.
_HEADER_BYTES = 8


@dataclass(frozen=True)
class _ZeroPoints:
    """The zero points of one tensor.

    `written` counts the bytes behind them in the file, padding excluded, down to the tensor's
    scales, which the builder writes just before.
    """

    tensor: int
    count: int
    written: int
    padding: int


class FileLayout:
    """The layout of one file as the converter writes it."""

    def __init__(self, content: bytes, tensors: Sequence[Tensor]) -> None:
        """`content` is the file and `tensors` are those of its main graph, in its order."""
        root = schema.Model.GetRootAs(content, 0)
        graph = root.Subgraphs(0)
        raw = [graph.Tensors(i) for i in range(graph.TensorsLength())]
        # In the order of writing.
        self._zero_points = sorted(_zero_points(content, raw), key=lambda z: z.written)
        # A constant that several tensors share is in the file once.
        buffers = {t.Buffer(): i for i, t in enumerate(raw) if tensors[i].constant}
        self._constants = tuple(buffers.values())
        self._alignment = _ZERO_POINT_BYTES if self._zero_points else _ALIGNMENT
        # The last object that the builder writes is the root's table of fields.
        table = root._tab.Pos - int.from_bytes(content[root._tab.Pos :][:4], "little", signed=True)
        padding = table - _HEADER_BYTES
        self._fixed = len(content) - padding - self._constant_bytes(tensors)

    def size(self, tensors: Sequence[Tensor]) -> int:
        """Bytes of the file with these tensors in place of its own."""
        grown = 0
        for zero_points in self._zero_points:
            tensor = tensors[zero_points.tensor]
            axis = tensor.quantized_axis
            more = (1 if axis is None else tensor.shape[axis]) - zero_points.count
            written = zero_points.written + grown + more * _SCALE_BYTES
            grown += more * (_SCALE_BYTES + _ZERO_POINT_BYTES)
            grown += -written % _ZERO_POINT_BYTES - zero_points.padding
        return _rounded(self._fixed + grown + self._constant_bytes(tensors), self._alignment)

    def _constant_bytes(self, tensors: Sequence[Tensor]) -> int:
        return sum(_rounded(tensor_bytes(tensors[i]), _ALIGNMENT) for i in self._constants)


def _zero_points(content: bytes, tensors: Sequence[Any]) -> list[_ZeroPoints]:
    start = np.frombuffer(content, np.uint8).ctypes.data
    found: list[_ZeroPoints] = []
    for index, tensor in enumerate(tensors):
        quantization = tensor.Quantization()
        if quantization is None or quantization.ZeroPointLength() == 0:
            continue
        zero_points = quantization.ZeroPointAsNumpy()
        end = zero_points.ctypes.data - start + zero_points.nbytes
        # A vector is preceded by its length.
        scales = quantization.ScaleAsNumpy().ctypes.data - start - _ALIGNMENT
        found.append(
            _ZeroPoints(index, len(zero_points), len(content) - scales, padding=scales - end)
        )
    return found


def _rounded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
