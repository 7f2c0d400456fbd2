"""What the tests of reader and writer share: running a model, and models that others trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.interpreter import Interpreter

from adapt.tflite.graph import OperatorGraph
from adapt.tflite.writer import write_kernel

Array = npt.NDArray[Any]
Run = Callable[..., list[Array]]


def run_model(content: bytes, *inputs: Array) -> list[Array]:
    """Outputs of a model on these inputs, or on ones of every element where none are given."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    values = inputs or [np.ones(d["shape"], d["dtype"]) for d in details]
    for detail, value in zip(details, values, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def run_kernel_by_kernel(graph: OperatorGraph, *inputs: Array) -> list[Array]:
    """Outputs of a graph whose operators run one by one, each in a file written for it alone."""
    held = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.operators:
        content = write_kernel(
            node.kernel, graph.constants(node), quantization=graph.quantization(node)
        )
        operands = [held[i] for i in node.inputs if i in held]
        held.update(zip(node.outputs, run_model(content, *operands), strict=True))
    return [held[i] for i in graph.outputs]


def random_inputs(content: bytes) -> list[Array]:
    """Random values for each input of a model: normal floats, integers over their whole range."""
    noise = np.random.default_rng(7)
    result = []
    for detail in Interpreter(model_content=content).get_input_details():
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        if dtype.kind == "f":
            result.append(noise.standard_normal(shape).astype(dtype))
        else:
            bounds = np.iinfo(dtype)
            result.append(noise.integers(bounds.min, bounds.max, shape, dtype, endpoint=True))
    return result


@pytest.fixture(name="run", scope="session")
def run_fixture() -> Run:
    return run_model


@pytest.fixture(name="run_alone", scope="session")
def run_alone_fixture() -> Run:
    return run_kernel_by_kernel


@pytest.fixture(name="random_inputs", scope="session")
def random_inputs_fixture() -> Callable[[bytes], list[Array]]:
    return random_inputs


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of trained models, by ADAPT_SHARED or beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("ADAPT_SHARED", beside)) / "models"
    if not folder.is_dir():
        pytest.skip(f"no trained models in {folder}")
    return folder
