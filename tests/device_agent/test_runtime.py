"""The runtimes, and the worker on its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from device_agent import launcher, runtime
from device_agent.worker import Job, ModelHeader, cores_of, read_models

ROOT = Path(__file__).resolve().parents[2]


def other_python() -> Path:
    """A Python with tflite-runtime; the test is skipped where there is none."""
    named = os.environ.get("ADAPT_TFLITE_RUNTIME_PYTHON")
    path = Path(named) if named else ROOT / ".venv-tflite-runtime/bin/python"
    if not path.exists():
        pytest.skip(f"{path} is not there; ADAPT_TFLITE_RUNTIME_PYTHON names one")
    return path


def run_worker(python: Path, models: dict[str, bytes], **changes: Any) -> list[dict[str, Any]]:
    """The events of one worker."""
    now = time.monotonic_ns()
    values = {
        "backend": "xnnpack",
        "threads": 1,
        "core_mask": 0,
        "target_relative_error": 0.05,
        "max_windows": 10,
        "window_us": 2_000,
        "start_ns": now,
        "deadline_ns": now + 20_000_000_000,
        "address_space": 6 << 30,
        "cpu_seconds": 60,
    }
    headers = [ModelHeader(name, len(content), 0, []) for name, content in models.items()]
    job = Job(**(values | changes), models=headers)
    done = subprocess.run(
        launcher.command("device_agent.worker", python=[str(python)]),
        input=b"".join([job.line(), *models.values()]),
        capture_output=True,
        timeout=60,
        env=launcher.environment(),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def identify(python: Path) -> dict[str, Any]:
    command = launcher.command("device_agent.worker", "--identify", python=[str(python)])
    done = subprocess.run(
        command, capture_output=True, timeout=60, check=True, env=launcher.environment()
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_same_model_through_two_runtimes(small_model: bytes) -> None:
    other = other_python()
    ours, theirs = identify(Path(sys.executable)), identify(other)
    assert theirs["runtime"] == "tflite-runtime"
    assert theirs["runtime_version"] == "2.14.0"
    assert ours["runtime"] != theirs["runtime"]
    assert ours["runtime_build"] != theirs["runtime_build"]
    for python in (Path(sys.executable), other):
        for backend in ours["backends"]:
            events = run_worker(python, {"m": small_model}, backend=backend)
            lows = [e["window"]["low_us"] for e in events if e["event"] == "window"]
            assert len(lows) >= 2
            assert all(1 < low < 100_000 for low in lows)
            loaded = next(e for e in events if e["event"] == "loaded")
            assert loaded["nodes"] == 13
            assert events[-1]["event"] == "done"


def test_the_order_of_a_workers_words(small_model: bytes) -> None:
    events = run_worker(Path(sys.executable), {"m": small_model})
    kinds = [(e["event"], e.get("stage")) for e in events]
    assert kinds[:5] == [
        ("start", "load"),
        ("loaded", None),
        ("start", "warm-up"),
        ("start", "window"),
        ("window", None),
    ]
    assert kinds[-2:] == [("left", None), ("done", None)]


def test_delegated_operators_are_counted(shared_model: Callable[[str], bytes]) -> None:
    engine = runtime.find()
    model = shared_model("resnet8_cifar10_int8.tflite")
    plain = engine.load(model, "builtin", 1)
    assert (plain.nodes, plain.delegated) == (16, 0)
    fast = engine.load(model, "xnnpack", 1)
    assert fast.nodes == 16
    if engine.name == "ai-edge-litert":
        # SOFTMAX and the quantised input's neighbour stay with the runtime.
        assert 0 < fast.delegated < 16
    assert fast.invoke() is None


def test_what_lies_between_the_ends_of_a_delegate_is_taken() -> None:
    def node(index: int, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
        return {"index": index, "inputs": inputs, "outputs": outputs}

    # 0 -> [0] -> 1 -> [1] -> 2 -> [2] -> 3 -> [3] -> 4, with constants 10 to 13.
    own = [node(i, [i, 10 + i, -1], [i + 1]) for i in range(4)]
    assert runtime.count_delegated(own, []) == 0
    assert runtime.count_delegated(own, [node(4, [1, 11, 12], [3])]) == 2
    assert runtime.count_delegated(own, [node(4, [0, 10], [1]), node(5, [3, 13], [4])]) == 2
    assert runtime.count_delegated(own, [node(4, [0, 10, 11, 12, 13], [4])]) == 4


def test_the_build_is_that_of_the_mapped_library(tmp_path: Path) -> None:
    engine = runtime.find()
    library = runtime.native_library(Path(str(engine.module.__file__)).parent)
    assert engine.build == hashlib.sha256(library.read_bytes()).hexdigest()[:16]
    small, large = tmp_path / "small.so", tmp_path / "large.so.1"
    small.write_bytes(b"x")
    large.write_bytes(b"xx")
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f10 r-xp 00000000 fe:00 123   {small}\n7f20-7f30 rw-p 0 00:00 0\n")
    assert runtime.native_library(tmp_path, maps) == small
    assert runtime.native_library(tmp_path, tmp_path / "missing") == large


def test_inputs_are_reproducible_and_of_every_type() -> None:
    def filled() -> list[Any]:
        got: list[Any] = []
        dtypes = (np.float32, np.float16, np.int8, np.uint8, np.int16, np.int32, np.bool_)
        details = [
            {"index": i, "shape": np.array([2, 9]), "dtype": d} for i, d in enumerate(dtypes)
        ]
        details.append({"index": 99, "shape": np.array([1]), "dtype": np.bytes_})
        runtime.fill_inputs(
            SimpleNamespace(
                get_input_details=lambda: details,
                set_tensor=lambda index, data: got.append((index, data)),
            )
        )
        return got

    once, again = filled(), filled()
    assert [i for i, _ in once] == list(range(7))
    for (_, left), (_, right) in zip(once, again, strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert once[2][1].min() < 0 < once[2][1].max()
    assert not once[5][1].any()


def test_tflite_runtime_needs_an_older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(__name__="sys", __file__=__file__)

    def only_tflite_runtime(path: str) -> Any:
        if path != "tflite_runtime.interpreter":
            raise ImportError("not here")
        return module

    monkeypatch.setattr(runtime.importlib, "import_module", only_tflite_runtime)
    monkeypatch.setattr(runtime, "installed_version", lambda *_: "2.14.0")
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(runtime.NoRuntimeError, match="needs numpy below 2"):
        runtime.find()


def test_want_of_memory_ends_the_worker_before_its_last_word(small_model: bytes) -> None:
    events = run_worker(Path(sys.executable), {"m": small_model}, address_space=1)
    assert all(e["event"] != "done" for e in events)


def test_a_worker_is_pinned(small_model: bytes) -> None:
    core = max(os.sched_getaffinity(0))
    events = run_worker(Path(sys.executable), {"m": small_model}, core_mask=1 << core)
    assert events[-1]["event"] == "done"
    assert cores_of(0b1010_0000_0001) == {0, 9, 11}


def test_a_model_that_ends_early_is_not_touched() -> None:
    source = io.BytesIO(b"12345")
    headers = [ModelHeader("a", 3, 0, []), ModelHeader("b", 3, 0, [])]
    models = read_models(source, headers)
    assert next(models) == b"123"
    with pytest.raises(EOFError, match="b: 2 of 3 bytes"):
        next(models)


def test_a_bundle_names_its_own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launcher.PYTHON_VARIABLE, "lib/ld.so --library-path 'my lib' bin/python3")
    command = launcher.command("device_agent.worker")
    assert command[:4] == ["lib/ld.so", "--library-path", "my lib", "bin/python3"]
    assert command[4:] == ["-s", "-m", "device_agent.worker"]
