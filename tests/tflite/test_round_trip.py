"""Whatever is written is read back, and the runtime takes it, for every operator in the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.errors import InputError
from adapt.tflite.ops import OPERATORS, OptionValue, make_kernel
from adapt.tflite.quantization import Quantization
from adapt.tflite.reader import read_kernels, read_model
from adapt.tflite.writer import null_kernel, write_kernel
from lookup_tables.kernel import Kernel, Tensor

# Operators that the runtime has for floats only.
FLOAT_ONLY = {"FLOOR", "POW", "SQUARE"}

CONV: dict[str, OptionValue] = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
POOL = CONV | {"filter_width": 2, "filter_height": 2}


def ints(*values: int) -> Tensor:
    return Tensor("int32", (len(values),), True, values)


def scalar(value: int) -> Tensor:
    return Tensor("int32", (), True, (value,))


def examples(dtype: str) -> list[Kernel]:
    """One kernel or more for every operator, with activations of `dtype`."""
    quantised = dtype != "float32"

    def x(*shape: int) -> Tensor:
        return Tensor(dtype, shape)

    def const(*shape: int) -> Tensor:
        return Tensor(dtype, shape, True)

    def weights(axis: int, *shape: int) -> Tensor:
        return Tensor(dtype, shape, True, quantized_axis=axis if dtype == "int8" else None)

    def bias(size: int) -> Tensor:
        axis = 0 if dtype == "int8" else None
        return Tensor("int32" if quantised else dtype, (size,), True, quantized_axis=axis)

    image, wide = x(1, 6, 5, 4), x(1, 6, 5, 8)
    unary = (
        "RELU RELU6 RELU_N1_TO_1 LOGISTIC TANH ELU SQRT RSQRT LOG FLOOR ABS NEG EXP SQUARE"
        " HARD_SWISH GELU LEAKY_RELU SOFTMAX LOG_SOFTMAX L2_NORMALIZATION"
    )
    binary = "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW"
    given: dict[str, dict[str, OptionValue]] = {
        "LEAKY_RELU": {"alpha": 0.1},
        "SOFTMAX": {"beta": 1.0},
    }
    result = [make_kernel(op, [image], [image], **given.get(op, {})) for op in unary.split()]
    for op in binary.split():
        result.append(make_kernel(op, [image, image], [image]))
        result.append(make_kernel(op, [image, const(4)], [image]))
    for op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"):
        result.append(make_kernel(op, [image, ints(1, 2)], [x(1, 4)]))
        result.append(make_kernel(op, [image, ints(1, 2)], [x(1, 1, 1, 4)], keep_dims=True))
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        result.append(make_kernel(op, [image], [image], **POOL))
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        up = x(1, 12, 10, 4)
        result.append(make_kernel(op, [image, ints(12, 10)], [up], half_pixel_centers=True))
    result += [
        make_kernel("CONV_2D", [image, weights(0, 8, 3, 3, 4), bias(8)], [wide], **CONV),
        make_kernel("CONV_2D", [image, weights(0, 8, 3, 3, 2), bias(8)], [wide], **CONV),
        make_kernel(
            "DEPTHWISE_CONV_2D",
            [image, weights(3, 1, 3, 3, 8), bias(8)],
            [wide],
            depth_multiplier=2,
            fused_activation_function="RELU6",
            **CONV,
        ),
        make_kernel(
            "TRANSPOSE_CONV",
            [ints(1, 12, 10, 3), weights(0, 3, 3, 3, 4), image, bias(3)],
            [x(1, 12, 10, 3)],
            **CONV | {"stride_w": 2, "stride_h": 2},
        ),
        make_kernel("FULLY_CONNECTED", [x(2, 9), weights(0, 7, 9), bias(7)], [x(2, 7)]),
        make_kernel("FULLY_CONNECTED", [x(2, 9), weights(0, 7, 9), None], [x(2, 7)]),
        make_kernel("BATCH_MATMUL", [x(2, 3, 4), x(2, 4, 5)], [x(2, 3, 5)]),
        make_kernel("BATCH_MATMUL", [x(2, 3, 4), x(2, 5, 4)], [x(2, 3, 5)], adj_y=True),
        make_kernel("PRELU", [image, const(1, 1, 4)], [image]),
        make_kernel("CAST", [image], [Tensor("int32", image.shape)], out_data_type="INT32"),
        make_kernel(
            "ARG_MAX", [image, scalar(3)], [Tensor("int64", (1, 6, 5))], output_type="INT64"
        ),
        make_kernel("CONCATENATION", [image, wide, image], [x(1, 6, 5, 16)], axis=-1),
        make_kernel("PAD", [image, pads(1, 2)], [x(1, 8, 9, 4)]),
        make_kernel("PADV2", [image, pads(1, 2), const()], [x(1, 8, 9, 4)]),
        make_kernel("MIRROR_PAD", [image, pads(1, 2)], [x(1, 8, 9, 4)], mode="SYMMETRIC"),
        make_kernel("RESHAPE", [image, ints(1, 120)], [x(1, 120)]),
        make_kernel("RESHAPE", [image], [x(30, 4)]),
        make_kernel("RESHAPE", [x(1), ints()], [x()]),
        make_kernel("SQUEEZE", [x(1, 6, 1, 4)], [x(6, 4)], squeeze_dims=[0, 2]),
        make_kernel("SQUEEZE", [x(1, 6, 1, 4)], [x(6, 4)]),
        make_kernel("EXPAND_DIMS", [image, scalar(0)], [x(1, 1, 6, 5, 4)]),
        make_kernel("TRANSPOSE", [image, ints(0, 2, 1, 3)], [x(1, 5, 6, 4)]),
        make_kernel("SPLIT", [scalar(3), image], [x(1, 6, 5, 2)] * 2, num_splits=2),
        make_kernel(
            "SPLIT_V",
            [image, ints(1, 3), scalar(3)],
            [x(1, 6, 5, 1), x(1, 6, 5, 3)],
            num_splits=2,
        ),
        make_kernel("SLICE", [image, ints(0, 1, 1, 0), ints(1, 2, 3, 4)], [x(1, 2, 3, 4)]),
        make_kernel(
            "STRIDED_SLICE",
            [image, ints(0, 0, 0, 0), ints(1, 6, 5, 4), ints(1, 2, 2, 1)],
            [x(1, 3, 3, 4)],
            begin_mask=1,
        ),
        make_kernel("PACK", [x(6, 5)] * 3, [x(6, 3, 5)], values_count=3, axis=1),
        make_kernel("UNPACK", [x(6, 3, 5)], [x(6, 5)] * 3, num=3, axis=1),
        make_kernel("GATHER", [image, ints(3, 1)], [x(1, 6, 5, 2)], axis=3),
        make_kernel("TILE", [image, ints(1, 2, 1, 1)], [x(1, 12, 5, 4)]),
        make_kernel("BROADCAST_TO", [x(1, 1, 1, 4), ints(1, 6, 5, 4)], [image]),
        make_kernel("SHAPE", [image], [Tensor("int32", (4,))], out_type="INT32"),
        make_kernel("SPACE_TO_DEPTH", [x(1, 6, 4, 4)], [x(1, 3, 2, 16)], block_size=2),
        make_kernel("DEPTH_TO_SPACE", [x(1, 3, 2, 16)], [x(1, 6, 4, 4)], block_size=2),
        make_kernel("SPACE_TO_BATCH_ND", [x(1, 6, 4, 4), ints(2, 2), crops()], [x(4, 3, 2, 4)]),
        make_kernel("BATCH_TO_SPACE_ND", [x(4, 3, 2, 4), ints(2, 2), crops()], [x(1, 6, 4, 4)]),
        make_kernel("QUANTIZE", [Tensor("float32", (1, 4))], [Tensor("int8", (1, 4))]),
        make_kernel("QUANTIZE", [Tensor("int8", (1, 4))], [Tensor("int8", (1, 4))]),
        make_kernel("DEQUANTIZE", [Tensor("int8", (1, 4))], [Tensor("float32", (1, 4))]),
    ]
    return result


def pads(height: int, width: int) -> Tensor:
    return Tensor("int32", (4, 2), True, (0, 0, height, height, width, width, 0, 0))


def crops() -> Tensor:
    return Tensor("int32", (2, 2), True, (0, 0, 0, 0))


EXAMPLES = [k for dtype in ("float32", "int8", "uint8") for k in examples(dtype)]


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
@settings(max_examples=60, deadline=None)
def test_any_convolution_is_read_back_and_runs(kernel: Kernel) -> None:
    content = write_kernel(kernel)
    assert read_kernels(content) == [kernel]
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    # The runtime computes the shape of the output itself.
    assert tuple(interpreter.get_output_details()[0]["shape"]) == kernel.outputs[0].shape


CONV_KERNEL = next(k for k in EXAMPLES if k.op == "CONV_2D")
INT8_CONV = next(k for k in EXAMPLES if k.op == "CONV_2D" and k.dtype == "int8")


def test_bytes_depend_on_kernel_and_seed_alone() -> None:
    assert write_kernel(CONV_KERNEL, seed=3) == write_kernel(CONV_KERNEL, seed=3)
    assert write_kernel(CONV_KERNEL, seed=3) != write_kernel(CONV_KERNEL, seed=4)


def test_noise_is_normal_and_scaled_by_fan_in() -> None:
    dense = make_kernel(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 400)), Tensor("float32", (500, 400), True), None],
        [Tensor("float32", (1, 500))],
    )
    graph = read_model(write_kernel(dense))
    weights = graph.constants(graph.operators[0])[1]
    assert weights.std() == pytest.approx(1 / 20, rel=0.02)
    assert abs(weights).min() > np.finfo(np.float32).tiny
    assert np.isfinite(weights).all()


def test_constants_are_aligned_as_the_converter_aligns_them() -> None:
    content = write_kernel(CONV_KERNEL)
    graph = read_model(content)
    start = np.frombuffer(content, np.uint8).ctypes.data
    for data in graph.constants(graph.operators[0]).values():
        assert (data.ctypes.data - start) % 16 == 0


def test_given_constants_and_scales_are_kept() -> None:
    weights = np.arange(8 * 9 * 4, dtype=np.int8).reshape(8, 3, 3, 4)
    scales = Quantization(tuple(0.5**i for i in range(8)), (0,) * 8)
    content = write_kernel(INT8_CONV, {1: weights}, quantization={1: scales})
    graph = read_model(content)
    (node,) = graph.operators
    assert (graph.constants(node)[1] == weights).all()
    assert graph.quantization(node)[1] == scales
    # The bias, not given, follows the given weights: scale of the input times theirs.
    data = graph.quantization(node)[0].scales[0]
    assert graph.quantization(node)[2].scales == tuple(data * s for s in scales.scales)


def test_hybrid_kernel_keeps_its_float_bias(run: Callable[..., Any]) -> None:
    kernel = make_kernel(
        "FULLY_CONNECTED",
        [
            Tensor("float32", (1, 8)),
            Tensor("int8", (4, 8), True, quantized_axis=0),
            Tensor("float32", (4,), True),
        ],
        [Tensor("float32", (1, 4))],
    )
    content = write_kernel(kernel)
    assert read_kernels(content) == [kernel]
    assert run(content)[0].shape == (1, 4)


def test_kernel_with_16_bit_activations_runs(
    run: Callable[..., Any], random_inputs: Callable[[bytes], list[Any]]
) -> None:
    kernel = make_kernel(
        "CONV_2D",
        [
            Tensor("int16", (1, 6, 5, 4)),
            Tensor("int8", (8, 3, 3, 4), True, quantized_axis=0),
            Tensor("int64", (8,), True, quantized_axis=0),
        ],
        [Tensor("int16", (1, 6, 5, 8))],
        **CONV,
    )
    content = write_kernel(kernel)
    assert read_kernels(content) == [kernel]
    (output,) = run(content, *random_inputs(content))
    assert output.dtype == np.int16
    assert len(np.unique(output)) > 10


def test_null_kernel_runs(run: Callable[..., Any]) -> None:
    assert null_kernel().text == "RELU(float32[1]) -> float32[1]"
    assert run(write_kernel(null_kernel()))[0].tolist() == [1.0]


E1 = Tensor("float32", (1,))
HUGE = Tensor("float32", (1 << 16, 1 << 16), True)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Kernel("WHILE", (E1,), (E1,)), "WHILE is not one that can be written"),
        (Kernel("CONV_2D", (E1,), (E1,)), "missing or unknown: dilation_h_factor"),
        (Kernel("RELU", (E1,), (E1,), (("alpha", "1"),)), "missing or unknown: alpha"),
        (Kernel("RELU", (Tensor("string", (1,)),), (E1,)), "element type string"),
        (Kernel("RELU", (Tensor("float32", (1 << 31,)),), (E1,)), "32-bit size"),
        (Kernel("RELU", (Tensor("int8", (1,), True, quantized_axis=1),), (E1,)), "no axis 1"),
        (Kernel("RELU", (Tensor("int32", (3,), True, (1,)),), (E1,)), "1 values for 3"),
        (Kernel("RELU", (Tensor("int32", (1,), True, (1 << 31,)),), (E1,)), "out of range"),
        (Kernel("RELU", (Tensor("int8", (1,), True, (1,)),), (E1,)), "only constant integers"),
        (Kernel("RELU", (HUGE,), (E1,)), "bytes of constants"),
        (Kernel.make("GELU", [E1], [E1], {"approximate": 2}), "approximate=2 is not a value"),
        (Kernel.make("UNPACK", [E1], [E1], {"num": 1 << 40, "axis": 0}), "num=1099511627776"),
    ],
)
def test_what_cannot_be_written_is_named(kernel: Kernel, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_kernel(kernel)


def test_constants_of_another_shape_or_number_of_scales_are_refused() -> None:
    with pytest.raises(InputError, match=r"its contents are float32\[2\]"):
        write_kernel(CONV_KERNEL, {1: np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="1 scales where 8 are due"):
        write_kernel(INT8_CONV, quantization={1: Quantization((1.0,), (0,))})
