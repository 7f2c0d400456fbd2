"""Silence where there should be, and words where they belong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import structlog

from adapt.telemetry import configure_logging, muted

# The streams of the process itself, which pytest does not replace.
assert sys.__stdout__ is not None
assert sys.__stderr__ is not None
OUT, ERR = sys.__stdout__, sys.__stderr__


def native(descriptor: int, text: str) -> None:
    """Write as C does: to the descriptor, past Python's streams."""
    os.write(descriptor, text.encode())


def test_muted_swallows_what_anybody_writes(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", file=OUT)
    with muted(OUT, ERR) as sink:
        native(1, "from C to stdout\n")
        native(2, "from C to stderr\n")
        print("from Python", file=OUT)
        subprocess.run(["echo", "from a child"], check=True)
        OUT.flush()
        sink.seek(0)
        swallowed = set(sink.read().decode().splitlines())
    native(1, "after\n")
    native(2, "afterwards\n")
    captured = capfd.readouterr()
    assert captured.out == "before\nafter\n"
    assert captured.err == "afterwards\n"
    assert swallowed == {"from C to stdout", "from C to stderr", "from Python", "from a child"}


def test_muted_mutes_only_what_it_is_given(capfd: pytest.CaptureFixture[str]) -> None:
    with muted(ERR):
        native(1, "a result\n")
        native(2, "noise\n")
    assert capfd.readouterr() == ("a result\n", "")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fail_muted(*streams: IO[str]) -> None:
    with muted(*streams):
        native(1, "noise\n")
        raise KeyError("lost")


@pytest.mark.parametrize("times", [1, 2])
def test_muted_restores_after_an_exception(capfd: pytest.CaptureFixture[str], times: int) -> None:
    before = descriptors()
    with pytest.raises(KeyError, match="lost"):
        fail_muted(*[OUT] * times)
    native(1, "heard\n")
    assert capfd.readouterr().out == "heard\n"
    assert descriptors() == before


def test_muted_can_be_nested(capfd: pytest.CaptureFixture[str]) -> None:
    with muted(OUT):
        with muted(OUT):
            native(1, "noise\n")
        native(1, "still noise\n")
    native(1, "heard\n")
    assert capfd.readouterr().out == "heard\n"


IMPORT = """
from adapt.telemetry import import_tensorflow
import_tensorflow()
import sys
assert "tensorflow" in sys.modules
import tensorflow as tf
import keras
x = tf.matmul(tf.ones((2, 2)), tf.ones((2, 2)))
keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])(x)
"""


def test_tensorflow_says_nothing() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=env, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def fresh_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("fresh_logging")
@pytest.mark.parametrize("verbose", [False, True])
def test_logs_go_to_stderr(capsys: pytest.CaptureFixture[str], verbose: bool) -> None:
    configure_logging(verbose=verbose)
    log = structlog.get_logger()
    log.info("measuring", kernels=3)
    log.warning("throttled", device="pixel-6")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "throttled" in captured.err
    assert "device=pixel-6" in captured.err
    assert ("kernels=3" in captured.err) == verbose
