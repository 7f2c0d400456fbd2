"""Damaged files: whatever the bytes, a model is read or refused with an InputError."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from adapt.errors import InputError
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import macs
from adapt.tflite.reader import read_model
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Tensor


def mutants(content: bytes, count: int) -> list[bytes]:
    """Copies with a few bytes changed, mostly in the tables, or cut, or with a part repeated."""
    noise = np.random.default_rng(11)
    result = []
    for _ in range(count):
        data = bytearray(content)
        kind = noise.integers(8)
        if kind == 0:
            del data[noise.integers(8, len(data)) :]
        elif kind == 1:
            at, size = noise.integers(0, len(data) - 64), noise.integers(1, 64)
            data[at:at] = data[at : at + size]
        else:
            for _ in range(noise.integers(1, 9)):
                data[noise.integers(8, len(data))] = noise.choice([0, 1, 127, 128, 255])
        result.append(bytes(data))
    return result


def outcome(content: bytes) -> OperatorGraph | None:
    """What a mutant is read as; whatever is read can also be counted, and written or refused."""
    try:
        graph = read_model(content)
    except InputError:
        return None
    for node in graph.operators:
        if node.supported:
            assert macs(node.kernel) >= 0
            with contextlib.suppress(InputError):
                write_kernel(
                    node.kernel, graph.constants(node), quantization=graph.quantization(node)
                )
    return graph


def test_mutants_of_a_kernel_are_read_or_refused() -> None:
    kernel = make_kernel(
        "PAD",
        [Tensor("float32", (1, 4)), Tensor("int32", (2, 2), True, (0, 0, 1, 1))],
        [Tensor("float32", (1, 6))],
    )
    outcomes = [outcome(mutant) for mutant in mutants(write_kernel(kernel), 500)]
    assert 0 < outcomes.count(None) < len(outcomes)


def test_mutants_of_a_trained_model_are_read_or_refused(models: Path) -> None:
    content = (models / "kws_dscnn_int8.tflite").read_bytes()
    outcomes = [outcome(mutant) for mutant in mutants(content, 400)]
    assert 0 < outcomes.count(None) < len(outcomes)
