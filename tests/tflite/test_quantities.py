"""Multiply-accumulates and bytes, counted by hand."""

from __future__ import annotations

import pytest

from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import macs, tensor_bytes, weight_bytes
from lookup_tables.kernel import Kernel, Tensor


def x(*shape: int) -> Tensor:
    return Tensor("float32", shape)


def const(*shape: int) -> Tensor:
    return Tensor("float32", shape, True)


CONV = make_kernel("CONV_2D", [x(1, 6, 5, 4), const(8, 3, 3, 4), const(8)], [x(1, 6, 5, 8)])
GROUPED = make_kernel("CONV_2D", [x(1, 6, 5, 4), const(8, 3, 3, 2), const(8)], [x(1, 6, 5, 8)])
DEPTHWISE = make_kernel("DEPTHWISE_CONV_2D", [x(1, 6, 5, 8), const(1, 3, 3, 8)], [x(1, 6, 5, 8)])
DENSE = make_kernel("FULLY_CONNECTED", [x(2, 9), const(7, 9), const(7)], [x(2, 7)])
OUTPUT_SHAPE = Tensor("int32", (4,), True, (1, 12, 10, 3))
TRANSPOSED = make_kernel(
    "TRANSPOSE_CONV", [OUTPUT_SHAPE, const(3, 2, 2, 4), x(1, 6, 5, 4)], [x(1, 12, 10, 3)]
)
MATMUL = make_kernel("BATCH_MATMUL", [x(2, 3, 4), x(2, 4, 5)], [x(2, 3, 5)])
MATMUL_T = make_kernel("BATCH_MATMUL", [x(2, 4, 3), x(2, 4, 5)], [x(2, 3, 5)], adj_x=True)
ADD = make_kernel("ADD", [x(1, 4), const(4)], [x(1, 4)])


@pytest.mark.parametrize(
    ("kernel", "count"),
    [
        (CONV, 6 * 5 * 8 * 3 * 3 * 4),
        (GROUPED, 6 * 5 * 8 * 3 * 3 * 2),
        (DEPTHWISE, 6 * 5 * 8 * 3 * 3),
        (DENSE, 2 * 9 * 7),
        (TRANSPOSED, 6 * 5 * 4 * 2 * 2 * 3),
        (MATMUL, 2 * 3 * 4 * 5),
        (MATMUL_T, 2 * 3 * 4 * 5),
        (ADD, 0),
    ],
)
def test_macs(kernel: Kernel, count: int) -> None:
    assert macs(kernel) == count


def test_weight_bytes_leave_out_what_steers() -> None:
    assert weight_bytes(CONV) == 4 * (8 * 3 * 3 * 4 + 8)
    assert weight_bytes(TRANSPOSED) == 4 * 3 * 2 * 2 * 4
    assert weight_bytes(MATMUL) == 0


@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float32", 4), ("float16", 2), ("int8", 1), ("int64", 8), ("bool", 1)],
)
def test_tensor_bytes(dtype: str, size: int) -> None:
    assert tensor_bytes(Tensor(dtype, (3, 5))) == 15 * size
    assert tensor_bytes(Tensor(dtype, ())) == size
    assert tensor_bytes(Tensor(dtype, (3, 0))) == 0
