"""Whatever is written is read back, and the runtime takes it, for every operator in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.tflite.ops import OPERATORS, OptionValue, make_kernel
from adapt.tflite.reader import read_kernels
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel, Tensor

# Operators that the runtime has for floats only.
FLOAT_ONLY = {"FLOOR", "POW", "SQUARE"}

CONV: dict[str, OptionValue] = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
POOL = CONV | {"filter_width": 2, "filter_height": 2}


def ints(*values: int) -> Tensor:
    return Tensor("int32", (len(values),), True, values)


def scalar(value: int) -> Tensor:
    return Tensor("int32", (), True, (value,))


def pads(height: int, width: int) -> Tensor:
    return Tensor("int32", (4, 2), True, (0, 0, height, height, width, width, 0, 0))


def crops() -> Tensor:
    return Tensor("int32", (2, 2), True, (0, 0, 0, 0))


@dataclass(frozen=True)
class Operands:
    """Tensors for kernels whose activations are of one type."""

    dtype: str

    def x(self, *shape: int) -> Tensor:
        return Tensor(self.dtype, shape)

    def const(self, *shape: int) -> Tensor:
        return Tensor(self.dtype, shape, True)

    def weights(self, axis: int, *shape: int) -> Tensor:
        per_channel = axis if self.dtype == "int8" else None
        return Tensor(self.dtype, shape, True, quantized_axis=per_channel)

    def bias(self, size: int) -> Tensor:
        dtype = self.dtype if self.dtype == "float32" else "int32"
        return Tensor(dtype, (size,), True, quantized_axis=0 if self.dtype == "int8" else None)


def products(o: Operands) -> list[Kernel]:
    image, wide = o.x(1, 6, 5, 4), o.x(1, 6, 5, 8)
    return [
        make_kernel("CONV_2D", [image, o.weights(0, 8, 3, 3, 4), o.bias(8)], [wide], **CONV),
        make_kernel("CONV_2D", [image, o.weights(0, 8, 3, 3, 2), o.bias(8)], [wide], **CONV),
        make_kernel(
            "DEPTHWISE_CONV_2D",
            [image, o.weights(3, 1, 3, 3, 8), o.bias(8)],
            [wide],
            depth_multiplier=2,
            fused_activation_function="RELU6",
            **CONV,
        ),
        make_kernel(
            "TRANSPOSE_CONV",
            [ints(1, 12, 10, 3), o.weights(0, 3, 3, 3, 4), image, o.bias(3)],
            [o.x(1, 12, 10, 3)],
            **CONV | {"stride_w": 2, "stride_h": 2},
        ),
        make_kernel("FULLY_CONNECTED", [o.x(2, 9), o.weights(0, 7, 9), o.bias(7)], [o.x(2, 7)]),
        make_kernel("FULLY_CONNECTED", [o.x(2, 9), o.weights(0, 7, 9), None], [o.x(2, 7)]),
        make_kernel("BATCH_MATMUL", [o.x(2, 3, 4), o.x(2, 4, 5)], [o.x(2, 3, 5)]),
        make_kernel("BATCH_MATMUL", [o.x(2, 3, 4), o.x(2, 5, 4)], [o.x(2, 3, 5)], adj_y=True),
    ]


def elementwise(o: Operands) -> list[Kernel]:
    image = o.x(1, 6, 5, 4)
    unary = (
        "RELU RELU6 RELU_N1_TO_1 LOGISTIC TANH ELU SQRT RSQRT LOG FLOOR ABS NEG EXP SQUARE"
        " HARD_SWISH GELU LEAKY_RELU SOFTMAX LOG_SOFTMAX L2_NORMALIZATION"
    )
    binary = "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW"
    given: dict[str, dict[str, OptionValue]] = {
        "LEAKY_RELU": {"alpha": 0.1},
        "SOFTMAX": {"beta": 1.0},
    }
    one, float_row, int8_row = o.x(1, 4), Tensor("float32", (1, 4)), Tensor("int8", (1, 4))
    return [
        *(make_kernel(op, [image], [image], **given.get(op, {})) for op in unary.split()),
        *(make_kernel(op, [image, image], [image]) for op in binary.split()),
        *(make_kernel(op, [image, o.const(4)], [image]) for op in binary.split()),
        make_kernel("PRELU", [image, o.const(1, 1, 4)], [image]),
        make_kernel("CAST", [one], [Tensor("int32", (1, 4))], out_data_type="INT32"),
        make_kernel("QUANTIZE", [float_row], [int8_row]),
        make_kernel("QUANTIZE", [int8_row], [int8_row]),
        make_kernel("DEQUANTIZE", [int8_row], [float_row]),
    ]


def windows(o: Operands) -> list[Kernel]:
    image, up, rows = o.x(1, 6, 5, 4), o.x(1, 12, 10, 4), Tensor("int64", (1, 6, 5))
    reducers = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
    resizers = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
    kept = o.x(1, 1, 1, 4)
    return [
        *(make_kernel(op, [image, ints(1, 2)], [o.x(1, 4)]) for op in reducers),
        *(make_kernel(op, [image, ints(1, 2)], [kept], keep_dims=True) for op in reducers),
        make_kernel("AVERAGE_POOL_2D", [image], [image], **POOL),
        make_kernel("MAX_POOL_2D", [image], [image], **POOL),
        *(make_kernel(op, [image, ints(12, 10)], [up], align_corners=True) for op in resizers),
        make_kernel("ARG_MAX", [image, scalar(3)], [rows], output_type="INT64"),
    ]


def moves(o: Operands) -> list[Kernel]:
    image, wide = o.x(1, 6, 5, 4), o.x(1, 6, 5, 8)
    return [
        make_kernel("CONCATENATION", [image, wide, image], [o.x(1, 6, 5, 16)], axis=-1),
        make_kernel("PAD", [image, pads(1, 2)], [o.x(1, 8, 9, 4)]),
        make_kernel("PADV2", [image, pads(1, 2), o.const()], [o.x(1, 8, 9, 4)]),
        make_kernel("MIRROR_PAD", [image, pads(1, 2)], [o.x(1, 8, 9, 4)], mode="SYMMETRIC"),
        make_kernel("RESHAPE", [image, ints(1, 120)], [o.x(1, 120)]),
        make_kernel("RESHAPE", [image], [o.x(30, 4)]),
        make_kernel("RESHAPE", [o.x(1), ints()], [o.x()]),
        make_kernel("SQUEEZE", [o.x(1, 6, 1, 4)], [o.x(6, 4)], squeeze_dims=[0, 2]),
        make_kernel("SQUEEZE", [o.x(1, 6, 1, 4)], [o.x(6, 4)]),
        make_kernel("EXPAND_DIMS", [image, scalar(0)], [o.x(1, 1, 6, 5, 4)]),
        make_kernel("TRANSPOSE", [image, ints(0, 2, 1, 3)], [o.x(1, 5, 6, 4)]),
        make_kernel("SPLIT", [scalar(3), image], [o.x(1, 6, 5, 2)] * 2, num_splits=2),
        make_kernel(
            "SPLIT_V",
            [image, ints(1, 3), scalar(3)],
            [o.x(1, 6, 5, 1), o.x(1, 6, 5, 3)],
            num_splits=2,
        ),
        make_kernel("SLICE", [image, ints(0, 1, 1, 0), ints(1, 2, 3, 4)], [o.x(1, 2, 3, 4)]),
        make_kernel(
            "STRIDED_SLICE",
            [image, ints(0, 0, 0, 0), ints(1, 6, 5, 4), ints(1, 2, 2, 1)],
            [o.x(1, 3, 3, 4)],
            begin_mask=1,
        ),
        make_kernel("PACK", [o.x(6, 5)] * 3, [o.x(6, 3, 5)], values_count=3, axis=1),
        make_kernel("UNPACK", [o.x(6, 3, 5)], [o.x(6, 5)] * 3, num=3, axis=1),
        make_kernel("GATHER", [image, ints(3, 1)], [o.x(1, 6, 5, 2)], axis=3),
        make_kernel("TILE", [image, ints(1, 2, 1, 1)], [o.x(1, 12, 5, 4)]),
        make_kernel("BROADCAST_TO", [o.x(1, 1, 1, 4), ints(1, 6, 5, 4)], [image]),
        make_kernel("SHAPE", [image], [Tensor("int32", (4,))], out_type="INT32"),
        make_kernel("SPACE_TO_DEPTH", [o.x(1, 6, 4, 4)], [o.x(1, 3, 2, 16)], block_size=2),
        make_kernel("DEPTH_TO_SPACE", [o.x(1, 3, 2, 16)], [o.x(1, 6, 4, 4)], block_size=2),
        make_kernel("SPACE_TO_BATCH_ND", [o.x(1, 6, 4, 4), ints(2, 2), crops()], [o.x(4, 3, 2, 4)]),
        make_kernel("BATCH_TO_SPACE_ND", [o.x(4, 3, 2, 4), ints(2, 2), crops()], [o.x(1, 6, 4, 4)]),
    ]


EXAMPLES = [
    kernel
    for dtype in ("float32", "int8", "uint8")
    for family in (products, elementwise, windows, moves)
    for kernel in family(Operands(dtype))
]


def test_examples_name_every_operator() -> None:
    assert {kernel.op for kernel in EXAMPLES} == set(OPERATORS)


@pytest.mark.parametrize("kernel", EXAMPLES, ids=lambda k: f"{k.op}-{k.dtype}")
def test_written_kernel_is_read_back(kernel: Kernel) -> None:
    assert read_kernels(write_kernel(kernel)) == [kernel]
    assert Kernel.parse(kernel.text) == kernel


def runs(kernel: Kernel) -> bool:
    return kernel.dtype == "float32" or (kernel.dtype == "int8" and kernel.op not in FLOAT_ONLY)


@pytest.mark.parametrize(
    "kernel", [k for k in EXAMPLES if runs(k)], ids=lambda k: f"{k.op}-{k.dtype}"
)
def test_runtime_takes_written_kernel(kernel: Kernel, run: Callable[..., Any]) -> None:
    outputs = run(write_kernel(kernel))
    assert [o.shape for o in outputs] == [t.shape for t in kernel.outputs]
    assert [str(o.dtype) for o in outputs] == [t.dtype for t in kernel.outputs]
    assert all(np.isfinite(o).all() for o in outputs)


@pytest.mark.parametrize("op", sorted(FLOAT_ONLY))
def test_runtime_refuses_integers_where_it_has_floats_only(
    op: str, run: Callable[..., Any]
) -> None:
    kernel = next(k for k in EXAMPLES if k.op == op and k.dtype == "int8")
    with pytest.raises(RuntimeError):
        run(write_kernel(kernel))


def conv_kernels() -> st.SearchStrategy[Kernel]:
    """Convolutions, plain and depthwise, of any small shape, stride, padding and type."""

    def build(args: tuple[Any, ...]) -> Kernel:
        size, filter_size, stride, channels, filters, padding, dtype, activation, depthwise = args
        filters = channels if depthwise else filters
        shape = (1, *filter_size, filters) if depthwise else (filters, *filter_size, channels)
        # A tensor with a single scale has no channel axis.
        per_channel = dtype == "int8" and filters > 1
        spans = [(1 if padding == "SAME" else k) for k in filter_size]
        out = [-(-(n - span + 1) // s) for n, span, s in zip(size, spans, stride, strict=True)]
        weight_axis = 3 if depthwise else 0
        operands = [
            Tensor(dtype, (1, *size, channels)),
            Tensor(dtype, shape, True, quantized_axis=weight_axis if per_channel else None),
            Tensor(
                "float32" if dtype == "float32" else "int32",
                (filters,),
                True,
                quantized_axis=0 if per_channel else None,
            ),
        ]
        return make_kernel(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            operands,
            [Tensor(dtype, (1, *out, filters))],
            padding=padding,
            stride_h=stride[0],
            stride_w=stride[1],
            fused_activation_function=activation,
            **({"depth_multiplier": 1} if depthwise else {}),
        )

    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return st.tuples(
        st.tuples(st.integers(3, 12), st.integers(3, 12)),
        pair,
        pair,
        st.integers(1, 9),
        st.integers(1, 9),
        st.sampled_from(["SAME", "VALID"]),
        st.sampled_from(["float32", "int8"]),
        st.sampled_from(["NONE", "RELU", "RELU6"]),
        st.booleans(),
    ).map(build)


@given(conv_kernels())
@settings(max_examples=60)
def test_any_convolution_is_read_back_and_runs(kernel: Kernel) -> None:
    content = write_kernel(kernel)
    assert read_kernels(content) == [kernel]
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    # The runtime computes the shape of the output itself.
    assert tuple(interpreter.get_output_details()[0]["shape"]) == kernel.outputs[0].shape
