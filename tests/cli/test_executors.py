"""`adapt run --executor`: the same job whoever carries it out, and nobody left behind."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest

if TYPE_CHECKING:
    from conftest import Adapt, Warm

USAGE, INTERRUPTED = 2, 130
RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'"
)
# Several iterations, and no device: what is measured would be news for every job.
JOB = (
    *("--device", "eyeriss", "--budget", "macs=60%", "--first-step", "0.25", "--threads", "1"),
    *(
        "--trial-steps=4",
        "--short-steps=2",
        "--settling-steps=1",
        "--long-steps=3",
        "--data-memory=0",
    ),
)
PROCESSES = ("--executor", "processes", "--workers", "2")
LEFT_S = 15


def outcome(job: Path) -> Any:
    """What must be the same: each iteration, and the final files."""
    result = json.loads((job / "job.json").read_text())["result"]
    assert not (job / "data").exists()
    return result["history"], hashlib.sha256((job / "adapted.tflite").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Any:
    """How the job ends in one process, with all examples in memory."""
    from tests.cli.conftest import Adapt

    adapt = Adapt(tmp_path_factory.mktemp("here"), warm)
    finished = adapt.quick("run", *adapt.DEMO, *JOB[:-1])
    assert finished.code == 0, finished.err
    found = outcome(adapt.jobs / "digits-1")
    assert len(found[0]) > 2
    return found


@RAY
def test_the_same_network_comes_of_a_cluster(bare_adapt: Adapt, here: Any) -> None:
    ray = ("--executor", "ray", "--workers", "2", "--json")
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *JOB, *ray)
    assert finished.code == 0, finished.err
    json.loads(finished.out)  # Workers say nothing on stdout.
    assert outcome(bare_adapt.jobs / "digits-1") == here


def test_the_same_network_comes_of_processes_and_after_a_kill(bare_adapt: Adapt, here: Any) -> None:
    running = bare_adapt.start("run", *bare_adapt.DEMO, *JOB, *PROCESSES)
    job = bare_adapt.jobs / "digits-1"
    running.until(lambda: (job / "journal" / "0002.json").exists())
    assert len(workers(running)) == 2
    running.kill()  # Fails where a worker stays.
    finished = bare_adapt.quick("resume", str(job), "--json")
    assert finished.code == 0, finished.err
    json.loads(finished.out)  # Workers say nothing on stdout.
    assert outcome(job) == here


def test_stopped_by_the_user(bare_adapt: Adapt) -> None:
    running = bare_adapt.start("run", *bare_adapt.DEMO, *JOB, *PROCESSES)
    running.until(lambda: len(workers(running)) == 2)
    left = running.descendants()
    for process in [*left, psutil.Process(running.process.pid)]:
        process.send_signal(signal.SIGINT)  # As a terminal does.
    finished = running.wait()
    assert finished.code == INTERRUPTED
    assert "adapt resume" in finished.err
    assert "Traceback" not in finished.err
    _, alive = psutil.wait_procs(left, timeout=LEFT_S)
    assert not alive
    assert not list(bare_adapt.jobs.glob("*/data"))


def workers(running: Any) -> list[psutil.Process]:
    found = []
    for process in running.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):  # Or about to be none.
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_workers_of_one_process(bare_adapt: Adapt) -> None:
    asked = ("run", *bare_adapt.DEMO, "--budget", "macs=60%", "--workers", "2")
    finished = bare_adapt.quick(*asked)
    assert finished.code == USAGE
    assert "--executor processes" in finished.err


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_ray_where_there_is_none(bare_adapt: Adapt) -> None:
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *JOB, "--executor", "ray")
    assert finished.code == USAGE
    assert "adaptd[ray]" in finished.err
    assert not list(bare_adapt.jobs.glob("*"))
