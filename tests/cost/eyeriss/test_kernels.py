"""Kernels of TensorFlow Lite as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapt.cost.eyeriss.kernels import is_counted, is_uncounted_work, kernel_layer
from adapt.errors import InputError
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import macs
from adapt.tflite.reader import read_model
from adapt.tflite.writer import write_kernel
from adapt.tflite.zeros import feature_map_densities, weight_density
from lookup_tables.kernel import Kernel, Tensor


def conv(
    data: Sequence[int], weights: Sequence[int], out: Sequence[int], op: str = "CONV_2D",
    dtype: str = "float32", **options: Any,
) -> Kernel:  # fmt: skip
    tensors = [Tensor(dtype, tuple(data)), Tensor(dtype, tuple(weights), constant=True)]
    tensors.append(Tensor("float32", (out[-1],), constant=True))
    defaults = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    return make_kernel(op, tensors, [Tensor(dtype, tuple(out))], **(defaults | options))


DENSE = make_kernel(
    "FULLY_CONNECTED",
    [Tensor("float32", (5, 12)), Tensor("float32", (7, 12), constant=True), None],
    [Tensor("float32", (5, 7))],
)


@pytest.mark.parametrize(
    "kernel",
    [
        conv((1, 8, 9, 4), (6, 3, 3, 4), (1, 8, 9, 6)),
        conv((1, 8, 9, 4), (6, 3, 3, 2), (1, 4, 5, 6), stride_h=2, stride_w=2),
        conv((1, 8, 9, 4), (6, 3, 3, 4), (1, 6, 7, 6), padding="VALID"),
        conv((1, 8, 9, 4), (6, 3, 3, 4), (1, 8, 9, 6), dilation_h_factor=2, dilation_w_factor=2),
        conv((1, 8, 9, 4), (1, 3, 3, 8), (1, 8, 9, 8), "DEPTHWISE_CONV_2D", depth_multiplier=2),
        DENSE,
    ],
)
def test_a_layer_has_the_macs_of_its_kernel(kernel: Kernel) -> None:
    assert is_counted(kernel)
    assert not is_uncounted_work(kernel)
    assert kernel_layer(kernel, "layer").macs == macs(kernel)


def test_padding_groups_and_dilation() -> None:
    grouped = kernel_layer(
        conv((1, 8, 9, 4), (6, 3, 3, 2), (1, 4, 5, 6), stride_h=2, stride_w=2), "x"
    )
    assert (grouped.height, grouped.width, grouped.groups) == (9, 11, 2)
    wide = kernel_layer(
        conv((1, 8, 9, 4), (6, 3, 3, 4), (1, 8, 9, 6), dilation_h_factor=2, dilation_w_factor=3),
        "x",
    )
    assert (wide.extent_y, wide.extent_x, wide.height, wide.width) == (5, 7, 12, 15)
    assert (
        kernel_layer(conv((1, 8, 9, 4), (6, 3, 3, 4), (1, 8, 9, 6), dtype="int8"), "x").ifmap.bits
        == 8
    )


@pytest.mark.parametrize(
    "kernel",
    [
        conv((1, 8, 9, 0), (6, 3, 3, 0), (1, 8, 9, 6)),
        conv((1, 8, 9, 5), (6, 3, 3, 2), (1, 8, 9, 6)),
        conv((1, 8, 9, 4), (6, 9, 9, 4), (1, 8, 9, 6), padding="VALID"),
    ],
)
def test_a_damaged_kernel_is_refused(kernel: Kernel) -> None:
    with pytest.raises(InputError, match="layer x"):
        kernel_layer(kernel, "x")


def test_other_work_is_told_from_none() -> None:
    tensor = Tensor("float32", (1, 4, 4))
    product = make_kernel("BATCH_MATMUL", [tensor, tensor], [tensor])
    assert is_uncounted_work(product)
    assert not is_uncounted_work(make_kernel("RELU", [tensor], [tensor]))


def test_zeros_of_weights_and_feature_maps() -> None:
    kernel = make_kernel(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 12)), Tensor("float32", (7, 12), constant=True), None],
        [Tensor("float32", (1, 7))],
    )
    weights = np.ones((7, 12), np.float32)
    weights[:, 3:] = 0
    content = write_kernel(kernel, {1: weights})
    graph = read_model(content)
    assert weight_density(graph, graph.operators[0].inputs[1]) == 0.25
    examples = np.zeros((3, 12), np.float32)
    examples[0, :3] = 1
    (place,), (result,) = graph.inputs, graph.outputs
    found = feature_map_densities(content, graph, [place, result], examples)
    assert found == {place: 3 / 36, result: 1 / 3}
