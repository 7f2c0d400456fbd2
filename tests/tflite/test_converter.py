"""What is written computes bitwise the same as what TensorFlow's converter writes.

Each case is a function of one operator. The converter turns it into a model, in float32 and in
8-bit integers; each kernel read from that model is written alone with the same constants and
scales, and both sides run on the same inputs.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from adapt.tflite.reader import read_kernels, read_model
from adapt.tflite.writer import write_kernel

IMAGE = (1, 8, 9, 6)
NOISE = np.random.default_rng(5)


def constant(*shape: int) -> Any:
    return NOISE.standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """`build(tf, *inputs)` is a function that converts to `op`."""

    op: str
    build: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)

    def __str__(self) -> str:
        return self.op


KERNEL, DEPTHWISE, TRANSPOSED = constant(3, 3, 6, 10), constant(3, 3, 6, 2), constant(3, 3, 5, 6)
DENSE, BIAS, ROW = constant(20, 11), constant(10), constant(6)

CASES = [
    Case("CONV_2D", lambda tf, x: tf.nn.conv2d(x, KERNEL, 1, "SAME")),
    Case(
        "CONV_2D",
        lambda tf, x: tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(x, KERNEL, 2, "VALID"), BIAS)),
    ),
    Case("CONV_2D", lambda tf, x: tf.nn.conv2d(x, KERNEL, 1, "SAME", dilations=2)),
    Case("CONV_2D", lambda tf, x: tf.nn.conv2d(x, KERNEL[:, :, :3], 1, "SAME")),
    Case("CONV_2D", lambda tf, x: tf.nn.conv2d(x, KERNEL[..., :1], 1, "SAME")),
    Case(
        "DEPTHWISE_CONV_2D",
        lambda tf, x: tf.nn.relu(tf.nn.depthwise_conv2d(x, DEPTHWISE, [1, 2, 2, 1], "SAME")),
    ),
    Case("FULLY_CONNECTED", lambda tf, x: tf.matmul(x, DENSE) + DENSE[0], ((3, 20),)),
    Case("FULLY_CONNECTED", lambda tf, x: tf.nn.relu(tf.matmul(x, DENSE)), ((1, 20),)),
    Case(
        "TRANSPOSE_CONV",
        lambda tf, x: tf.nn.conv2d_transpose(x, TRANSPOSED, (1, 16, 18, 5), 2),
    ),
    Case("BATCH_MATMUL", lambda tf, x, y: tf.matmul(x, y), ((2, 3, 4), (2, 4, 5))),
    Case("ADD", lambda tf, x, y: tf.nn.relu(x + y), (IMAGE, IMAGE)),
    Case("ADD", lambda tf, x: x + ROW),
    Case("MUL", lambda tf, x, y: x * y, (IMAGE, (1, 1, 1, 6))),
    Case("SUB", lambda tf, x, y: x - y, (IMAGE, IMAGE)),
    Case("AVERAGE_POOL_2D", lambda tf, x: tf.nn.avg_pool2d(x, 2, 2, "VALID")),
    Case("MAX_POOL_2D", lambda tf, x: tf.nn.max_pool2d(x, 3, 2, "SAME")),
    Case("MEAN", lambda tf, x: tf.reduce_mean(x, [1, 2])),
    Case("MEAN", lambda tf, x: tf.reduce_mean(x, [1, 2], keepdims=True)),
    Case("SOFTMAX", lambda tf, x: tf.nn.softmax(x), ((2, 10),)),
    Case("LOGISTIC", lambda tf, x: tf.sigmoid(x)),
    Case("TANH", lambda tf, x: tf.tanh(x)),
    Case("HARD_SWISH", lambda tf, x: x * tf.nn.relu6(x + 3) / 6),
    Case("RELU", lambda tf, x: tf.nn.relu(x)),
    Case("RELU6", lambda tf, x: tf.nn.relu6(x)),
    Case("LEAKY_RELU", lambda tf, x: tf.nn.leaky_relu(x, 0.1)),
    Case("CONCATENATION", lambda tf, x, y: tf.concat([x, y], 3), (IMAGE, (1, 8, 9, 2))),
    Case("PAD", lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]])),
    Case("RESHAPE", lambda tf, x: tf.reshape(x, (1, 72, 6))),
    Case("RESIZE_BILINEAR", lambda tf, x: tf.image.resize(x, (16, 18))),
    Case("RESIZE_NEAREST_NEIGHBOR", lambda tf, x: tf.image.resize(x, (16, 18), "nearest")),
    Case("TRANSPOSE", lambda tf, x: tf.transpose(x, (0, 2, 1, 3))),
    Case("RELU_N1_TO_1", lambda tf, x: tf.minimum(tf.maximum(x, -1), 1)),
    Case("GELU", lambda tf, x: tf.nn.gelu(x)),
    Case("ELU", lambda tf, x: tf.nn.elu(x)),
    Case("MAXIMUM", lambda tf, x, y: tf.maximum(x, y), (IMAGE, IMAGE)),
    Case("PADV2", lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=1)),
    Case("MIRROR_PAD", lambda tf, x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "REFLECT")),
    Case("SPACE_TO_DEPTH", lambda tf, x: tf.nn.space_to_depth(x, 2), ((1, 8, 6, 4),)),
    Case("DEPTH_TO_SPACE", lambda tf, x: tf.nn.depth_to_space(x, 2), ((1, 8, 6, 4),)),
    Case("PACK", lambda tf, x, y: tf.stack([x, y], 1), ((1, 5), (1, 5))),
    Case("GATHER", lambda tf, x: tf.gather(x, [3, 1], axis=3)),
    Case("STRIDED_SLICE", lambda tf, x: x[:, 1:7:2, ::3]),
]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what the converter's C++ prints off this process's stdout and stderr."""
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for target, source in zip((1, 2), saved, strict=True):
            os.dup2(source, target)
            os.close(source)
        os.close(null)


@pytest.fixture(scope="module")
def tf() -> Any:
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")
        import tensorflow

    return tensorflow


def convert(tf: Any, case: Case, int8: bool) -> bytes:
    """The converter's model of a case."""
    signature = [tf.TensorSpec(shape, tf.float32) for shape in case.shapes]
    function = tf.function(
        lambda *inputs: case.build(tf, *inputs), input_signature=signature, autograph=False
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], function
    )
    if int8:
        noise = np.random.default_rng(3)
        samples = [[noise.standard_normal(s).astype(np.float32) for s in case.shapes]] * 4
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")
        return bytes(converter.convert())


def is_delegated(content: bytes) -> bool:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_written_kernel_equals_the_converted_one(
    case: Case, int8: bool, tf: Any, run: Any, run_alone: Any, random_inputs: Any
) -> None:
    converted = convert(tf, case, int8)
    graph = read_model(converted)
    assert case.op in [node.kernel.op for node in graph.operators]
    assert all(node.supported for node in graph.operators)
    inputs = random_inputs(converted)
    for alone, whole in zip(run_alone(graph, *inputs), run(converted, *inputs), strict=True):
        assert alone.dtype == (np.int8 if int8 else np.float32)
        assert alone.tobytes() == whole.tobytes()
    for node in graph.operators:
        given = write_kernel(
            node.kernel, graph.constants(node), quantization=graph.quantization(node)
        )
        assert read_kernels(given) == [node.kernel]
        # With its own scales and noise the kernel takes the same path through the runtime.
        assert is_delegated(write_kernel(node.kernel)) == is_delegated(given)


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_written_convolution_is_delegated(int8: bool, tf: Any) -> None:
    (kernel,) = read_kernels(convert(tf, CASES[0], int8))
    assert is_delegated(write_kernel(kernel))
