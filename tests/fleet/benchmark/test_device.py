"""benchmark_model's place taken by a program that times for real, on a link to this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.errors import DeviceError, InputError, UsageError
from adapt.fleet.benchmark import Benchmark
from adapt.fleet.benchmark.device import BenchmarkDevice
from adapt.fleet.canary import canary_model
from adapt.fleet.device import MeasureOptions, ModelFile, Status
from adapt.fleet.here import LocalLink

STANDIN = Path(__file__).with_name("standin.py")
OPTIONS = MeasureOptions(backend="benchmark-model", target_relative_error=0.5)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """The stand-in, as a program."""
    path = tmp_path / "benchmark_model"
    path.write_text(f"#!{sys.executable}\n{STANDIN.read_text()}")
    return path


@pytest.fixture
def opened(binary: Path, tmp_path: Path) -> Callable[..., BenchmarkDevice]:
    """This machine, with the stand-in and some flags."""

    def make(*flags: str) -> BenchmarkDevice:
        benchmark = Benchmark.open(binary, flags)
        return BenchmarkDevice("local", LocalLink(), benchmark, str(tmp_path))

    return make


def test_it_measures(opened: Callable[..., BenchmarkDevice], tmp_path: Path) -> None:
    device = opened()
    batch = device.measure([canary_model()], OPTIONS)
    outcome = batch.outcomes["canary"]
    assert outcome.status is Status.MEASURED
    assert all(window.low_us >= window.min_us > 1 for window in outcome.windows)
    assert batch.wall_ms > 0
    assert not list((tmp_path / "adapt/benchmark").glob("*.tflite"))
    device.close()


def test_its_platform_is_of_this_file_and_these_flags(
    opened: Callable[..., BenchmarkDevice],
) -> None:
    plain = opened().platform("benchmark-model", 1)
    gpu = opened("use_gpu=true").platform("benchmark-model", 1)
    assert plain.runtime == "benchmark_model"
    assert len(plain.runtime_build) == 16
    assert plain.backend == "benchmark-model"
    assert gpu.backend == "benchmark-model use_gpu=true"
    assert gpu.key != plain.key


@pytest.mark.parametrize(
    ("flag", "status"), [("crash=1", Status.CRASHED), ("refuse=1", Status.REFUSED)]
)
def test_a_model_that_fails_is_one_outcome(
    opened: Callable[..., BenchmarkDevice], flag: str, status: Status
) -> None:
    models = [canary_model(), ModelFile("other", canary_model().content)]
    outcomes = opened(flag).measure(models, OPTIONS).outcomes
    assert {outcome.status for outcome in outcomes.values()} == {status}
    assert outcomes["canary"].signal == (6 if status is Status.CRASHED else 0)


def test_a_file_that_is_no_program_is_named(binary: Path, tmp_path: Path) -> None:
    binary.write_bytes(b"\x7fELF nonsense")
    device = BenchmarkDevice("local", LocalLink(), Benchmark.open(binary), str(tmp_path))
    with pytest.raises(DeviceError, match="does not start on local"):
        device.measure([canary_model()], OPTIONS)


def test_a_program_that_says_something_else_is_named(binary: Path, tmp_path: Path) -> None:
    binary.write_text("#!/bin/sh\necho hello\n")
    device = BenchmarkDevice("local", LocalLink(), Benchmark.open(binary), str(tmp_path))
    with pytest.raises(DeviceError, match="not what benchmark_model prints"):
        device.measure([canary_model()], OPTIONS)


def test_it_measures_no_energy(opened: Callable[..., BenchmarkDevice]) -> None:
    with pytest.raises(UsageError, match="no energy"):
        opened().measure([canary_model()], MeasureOptions(energy_ms=1000))


def test_where_a_program_comes_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file") as caught:
        Benchmark.open(tmp_path / "none")
    assert "LiteRT's" in caught.value.todo
    with pytest.raises(UsageError, match="--binary FILE"):
        Benchmark.open(None)


@pytest.mark.parametrize("flag", ["graph=/etc/passwd", "use_gpu", "a=b;c", "--x=1", "A=1", ""])
def test_flags_that_cannot_be_given(binary: Path, flag: str) -> None:
    with pytest.raises(UsageError, match="cannot be given"):
        Benchmark.open(binary, [flag])


def test_the_command_takes_it(binary: Path, tmp_path: Path) -> None:
    model = tmp_path / "kernel.tflite"
    model.write_bytes(canary_model().content)
    arguments = ["measure", str(model), "--backend", "benchmark-model", "--json"]
    environment = {"ADAPT_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    done = CliRunner().invoke(main, [*arguments, "--binary", str(binary)], env=environment)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["platform"]["runtime"] == "benchmark_model"
    assert told["networks"][0]["latency_us"] > 1
    without = CliRunner().invoke(main, arguments, env=environment)
    assert without.exit_code == 2
    assert "--binary FILE" in without.output
