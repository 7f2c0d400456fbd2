"""Copies of a kernel in one file: all there, all different, all computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.tflite.copies import slice_kernel, write_copies
from adapt.tflite.ops import make_kernel
from adapt.tflite.reader import read_model
from adapt.tflite.writer import write_kernel
from device_agent import runtime
from lookup_tables.kernel import Kernel, Tensor


def conv(dtype: str) -> Kernel:
    axis = None if dtype == "float32" else 0
    bias = "float32" if dtype == "float32" else "int32"
    return make_kernel(
        "CONV_2D",
        [
            Tensor(dtype, (1, 6, 5, 8)),
            Tensor(dtype, (16, 3, 3, 8), True, quantized_axis=axis),
            Tensor(bias, (16,), True, quantized_axis=axis),
        ],
        [Tensor(dtype, (1, 6, 5, 16))],
        padding="SAME",
        stride_w=1,
        stride_h=1,
    )


def dense(dtype: str) -> Kernel:
    operands = [Tensor(dtype, (1, 32)), Tensor(dtype, (24, 32), True), None]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor(dtype, (1, 24))])


KERNELS = [conv("float32"), conv("int8"), dense("float32"), dense("int8")]
IDS = [f"{kernel.op} {kernel.dtype}" for kernel in KERNELS]
COPIES = 7


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_every_copy_is_the_kernel_with_weights_of_its_own(kernel: Kernel) -> None:
    graph = read_model(write_copies(kernel, COPIES))
    counts = Counter(node.kernel.op for node in graph.operators)
    assert counts == {kernel.op: COPIES, "SLICE": COPIES}
    copies = [node for node in graph.operators if node.kernel.op == kernel.op]
    assert {node.kernel for node in copies} == {kernel}
    assert len({node.inputs[0] for node in copies}) == 1
    weights = [graph.constants(node)[1] for node in copies]
    assert len({each.tobytes() for each in weights}) == COPIES
    assert len({each.ctypes.data for each in weights}) == COPIES


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_every_copy_is_computed(
    kernel: Kernel, run: Callable[..., Any], random_inputs: Callable[[bytes], list[Any]]
) -> None:
    content = write_copies(kernel, COPIES)
    graph = read_model(content)
    inputs = random_inputs(content)
    elements = run(content, *inputs)
    copies = [node for node in graph.operators if node.kernel.op == kernel.op]
    for element, node in zip(elements, copies, strict=True):
        alone = write_kernel(kernel, graph.constants(node), quantization=graph.quantization(node))
        (expected,) = run(alone, *inputs)
        assert element.reshape(-1)[0] == expected.reshape(-1)[0]
    assert len({element.tobytes() for element in elements}) > 1


@pytest.mark.parametrize("backend", runtime.BACKENDS)
@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_all_copies_are_delegated_alike(kernel: Kernel, backend: str) -> None:
    engine = runtime.find()
    one = engine.load(write_copies(kernel, 1), backend, 1)
    many = engine.load(write_copies(kernel, COPIES), backend, 1)
    assert (one.nodes, many.nodes) == (2, 2 * COPIES)
    assert many.delegated == COPIES * one.delegated
    assert one.delegated == (2 if backend == "xnnpack" else 0)


def test_slices_alone_run(run: Callable[..., Any]) -> None:
    for dtype in ("float32", "int8"):
        outputs = run(write_copies(slice_kernel(dtype), 3))
        assert [output.shape for output in outputs] == [(1, 1)] * 3
        assert {output.dtype for output in outputs} == {np.dtype(dtype)}


def test_what_cannot_be_copied_is_refused() -> None:
    with pytest.raises(ValueError, match="0 copies"):
        write_copies(KERNELS[0], 0)
    with pytest.raises(InputError, match="WHILE"):
        write_copies(Kernel("WHILE", (Tensor("float32", (1,)),), (Tensor("float32", (1,)),)), 2)
    scalar = make_kernel("RELU", [Tensor("float32", ())], [Tensor("float32", ())])
    with pytest.raises(InputError, match="without axes"):
        write_copies(scalar, 2)
