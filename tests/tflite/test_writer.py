"""What goes into a written kernel, and what cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantization import Quantization
from adapt.tflite.reader import read_kernels, read_model
from adapt.tflite.writer import null_kernel, write_kernel
from lookup_tables.kernel import Kernel, Tensor


def conv(dtype: str, weights: str, bias: str) -> Kernel:
    """A 3x3 convolution from 4 to 8 channels, per channel where the weights are integers."""
    axis = None if weights == "float32" else 0
    return make_kernel(
        "CONV_2D",
        [
            Tensor(dtype, (1, 6, 5, 4)),
            Tensor(weights, (8, 3, 3, 4), True, quantized_axis=axis),
            Tensor(bias, (8,), True, quantized_axis=axis),
        ],
        [Tensor(dtype, (1, 6, 5, 8))],
        padding="SAME",
        stride_w=1,
        stride_h=1,
    )


CONV_KERNEL = conv("float32", "float32", "float32")
INT8_CONV = conv("int8", "int8", "int32")


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
    kernel = conv("int16", "int8", "int64")
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
        (Kernel("CONV_2D", CONV_KERNEL.inputs, (E1,)), "missing or unknown: dilation_h_factor"),
        (Kernel("RELU", (E1,), (E1,), (("alpha", "1"),)), "missing or unknown: alpha"),
        (Kernel("RELU", (Tensor("string", (1,)),), (E1,)), "element type string"),
        (Kernel("RELU", (Tensor("float32", (1 << 31,)),), (E1,)), "32-bit size"),
        (Kernel("RELU", (Tensor("int8", (1,), True, quantized_axis=1),), (E1,)), "no axis 1"),
        (Kernel("RELU", (Tensor("int32", (3,), True, (1,)),), (E1,)), "1 values for 3"),
        (Kernel("RELU", (Tensor("int32", (1,), True, (1 << 31,)),), (E1,)), "out of range"),
        (Kernel("RELU", (Tensor("int8", (1,), True, (1,)),), (E1,)), "only constant integers"),
        (Kernel("RELU", (E1,), ()), "RELU has no output"),
        (make_kernel("CONV_2D", [E1], [E1]), "input 1 is None, of fewer than 4 axes"),
        (make_kernel("BATCH_MATMUL", [E1, E1], [E1]), "input 0 is .* of fewer than 2 axes"),
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
