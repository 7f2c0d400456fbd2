"""Damaged files: whatever the bytes, a model is read or refused with an InputError."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.errors import InputError
from adapt.tflite.constants import Array
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import macs
from adapt.tflite.reader import read_model
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Tensor

LONG = bool(os.environ.get("ADAPT_LONG"))
# Of each file.
READ = 1000 if LONG else 300
PREDICTED = 1000 if LONG else 10
MEASURED = 100 if LONG else 3

# Sizes, counts and offsets that a reader has to expect.
WORDS = [-(1 << 31), -1, 0, 2, 255, 1 << 16, 1 << 20, (1 << 31) - 1]

# Constants of so many bytes and less steer operators.
LARGE = 64

INPUT = 5


def mutants(content: bytes, count: int) -> Iterator[bytes]:
    """Copies with a few bytes or words of the tables changed, or cut, or with a part repeated."""
    noise = np.random.default_rng(11)
    tables = tables_of(content)
    for _ in range(count):
        data = bytearray(content)
        kind = noise.integers(8)
        if kind == 0:
            del data[noise.integers(8, len(data)) :]
        elif kind == 1:
            at, size = noise.integers(0, len(data) - 64), noise.integers(1, 64)
            data[at:at] = data[at : at + size]
        elif kind < 5:
            for at in noise.choice(tables, noise.integers(1, 9)):
                data[at] = noise.choice([0, 1, 127, 128, 255])
        else:
            for at in noise.choice(tables, noise.integers(1, 4)) & ~3:
                data[at : at + 4] = struct.pack("<i", noise.choice(WORDS))
        yield bytes(data)


def tables_of(content: bytes) -> Array:
    """Positions of the bytes that are not weights, beyond the file's identifier."""
    start = np.frombuffer(content, np.uint8).ctypes.data
    is_table = np.ones(len(content), bool)
    for edge in read_model(content).tensors:
        if edge.data is not None and edge.data.nbytes > LARGE:
            at = edge.data.ctypes.data - start
            is_table[at : at + edge.data.nbytes] = False
    is_table[:8] = False
    return np.flatnonzero(is_table)


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


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """The command line handles SIGTERM; the tests' own handler comes back."""
    saved = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, saved)


@pytest.fixture(scope="module")
def pad() -> bytes:
    """A file of one operator, which is all tables."""
    operands = [Tensor("float32", (1, 4)), Tensor("int32", (2, 2), True, (0, 0, 1, 1))]
    return write_kernel(make_kernel("PAD", operands, [Tensor("float32", (1, 6))]))


@pytest.fixture(scope="module")
def trained(models: Path) -> bytes:
    """A file that somebody else's converter wrote."""
    return (models / "kws_dscnn_int8.tflite").read_bytes()


@pytest.mark.parametrize("name", ["pad", "trained"])
def test_mutants_are_read_or_refused(name: str, request: pytest.FixtureRequest) -> None:
    content = request.getfixturevalue(name)
    outcomes = [outcome(mutant) for mutant in mutants(content, READ)]
    assert 0 < outcomes.count(None) < len(outcomes)


@pytest.mark.parametrize("name", ["pad", "trained"])
@pytest.mark.parametrize(("count", "option"), [(PREDICTED, "--no-measure-missing"), (MEASURED, "")])
def test_predict_prices_or_refuses_mutants(
    name: str, count: int, option: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """As a user meets it: a price, or one message and exit code 5; never a traceback."""
    file = tmp_path / "mutant.tflite"
    codes: Counter[int] = Counter()
    runner = CliRunner(env={"ADAPT_HOME": str(tmp_path)})
    for mutant in mutants(request.getfixturevalue(name), count):
        file.write_bytes(mutant)
        done = runner.invoke(main, ["predict", str(file), *filter(None, [option])])
        codes[done.exit_code] += 1
        assert done.exit_code in (0, INPUT), (done.stderr, done.exception)
        if done.exit_code == INPUT:
            assert done.stderr.startswith(f"adapt: {file}: ")
            assert not done.stdout
        else:
            assert "total " in done.stdout
    assert codes.keys() == {0, INPUT}
