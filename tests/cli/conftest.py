"""`adapt` as a user runs it: a real process, with tables and jobs in folders of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "adapt" / "demo" / "digits.keras"
DEMO = ("--model", str(MODEL), "--data", "adapt.demo:digits")
# Few enough steps for a test, and enough for several journal entries of each phase.
REFERENCE = (
    *("--budget", "latency=50%", "--first-step", "0.2"),
    *("--trial-steps", "4", "--short-steps", "3", "--settling-steps", "2", "--long-steps", "250"),
)
# Enough for a run on a machine that does much else.
DEADLINE_S = 300
POLL_S = 0.02
# An agent notices at once that its host is gone, its worker that the agent is.
ORPHAN_S = 15


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


class Running:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self._err.read_text()

    def wait(self) -> Finished:
        """Its end."""
        code = self.process.wait(DEADLINE_S)
        return Finished(code, self._out.read_text(), self.err)

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds; fails where the command ends before."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, f"it ended too early:\n{self.err}"
            assert time.monotonic() < deadline, f"it takes too long:\n{self.err}"
            time.sleep(POLL_S)

    def descendants(self) -> list[psutil.Process]:
        """The agent, and the agent's worker while there is one."""
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def kill(self) -> None:
        """kill -9, and wait for the processes that it leaves to end by themselves."""
        left = self.descendants()
        self.process.kill()
        self.process.wait(DEADLINE_S)
        _, alive = psutil.wait_procs(left, timeout=ORPHAN_S)
        assert not alive, f"left behind: {[process.cmdline() for process in alive]}"


class Warm:
    """The process that runs commands without importing TensorFlow for each."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Threads would not survive the fork.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def run(self, **command: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        while answer == "ready\n":
            answer = self._process.stdout.readline()
        return int(answer)

    def close(self) -> None:
        self._process.communicate(timeout=DEADLINE_S)


class Adapt:
    """Runs `adapt` in `folder`, where its tables, jobs and locks are."""

    DEMO = DEMO
    REFERENCE = REFERENCE

    def __init__(self, folder: Path, warm: Warm) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.table = self.home / "tables.db"
        self.jobs = folder / "jobs"
        self.env = {"ADAPT_HOME": str(self.home), "ADAPT_JOBS": str(self.jobs)}
        self._warm = warm
        self._number = 0

    def start(self, *arguments: str | Path) -> Running:
        """`adapt` in a process of its own."""
        out, err = self._files()
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("adapt"), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.folder,
                env={**os.environ, **self.env},
            )
        return Running(process, out, err)

    def run(self, *arguments: str | Path) -> Finished:
        """`adapt` in a process of its own, to its end."""
        return self.start(*arguments).wait()

    def quick(self, *arguments: str | Path, **environment: str) -> Finished:
        """`adapt` in a process that has TensorFlow imported already, to its end."""
        out, err = self._files()
        code = self._warm.run(
            argv=[str(argument) for argument in arguments],
            cwd=str(self.folder),
            env={**self.env, **environment},
            out=str(out),
            err=str(err),
        )
        return Finished(code, out.read_text(), err.read_text())

    def _files(self) -> tuple[Path, Path]:
        self._number += 1
        return self.folder / f"{self._number}.out", self.folder / f"{self._number}.err"


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """One warm process for all tests."""
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> tuple[Adapt, Path, Finished]:
    """A complete run of the bundled job on an empty table: how it ran, its job folder, its end."""
    adapt = Adapt(tmp_path_factory.mktemp("reference"), warm)
    finished = adapt.run("run", *DEMO, *adapt.REFERENCE, "--json")
    assert finished.code == 0, finished.err
    (job,) = adapt.jobs.iterdir()
    return adapt, job, finished


@pytest.fixture(scope="session")
def modelled(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> tuple[Adapt, Path, Finished]:
    """A complete job with no device: how it ran, its job folder, its end."""
    adapt = Adapt(tmp_path_factory.mktemp("modelled"), warm)
    finished = adapt.quick(
        *("run", *DEMO, "--device", "eyeriss", "--budget", "energy=60%", "--budget", "latency=90%"),
        *("--first-step", "0.4", "--trial-steps", "2", "--short-steps", "1", "--long-steps", "101"),
        # An agent could not even be started.
        *("--agent-python", "/absent/python"),
    )
    assert finished.code == 0, finished.err
    (job,) = adapt.jobs.iterdir()
    return adapt, job, finished


@pytest.fixture
def adapt(tmp_path: Path, warm: Warm, reference: tuple[Adapt, Path, Finished]) -> Adapt:
    """`adapt` with no jobs, and a table that has what the bundled job needs."""
    fresh = Adapt(tmp_path, warm)
    fresh.home.mkdir()
    shutil.copy(reference[0].table, fresh.table)
    return fresh


@pytest.fixture
def bare_adapt(tmp_path: Path, warm: Warm) -> Adapt:
    """`adapt` with no jobs and no table yet."""
    return Adapt(tmp_path, warm)
