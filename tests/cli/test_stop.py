"""Runs that are stopped, and devices and disks that fail in the middle of one."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest

from adapt.cli import main
from adapt.demo import MODEL, digits_arrays

if TYPE_CHECKING:
    from conftest import Adapt, Finished, Running

DEVICE, INPUT, BUSY, INTERRUPTED = 4, 5, 75, 130
# Without a search, so that the journal is soon at the fine-tune: 100 steps an entry.
UNIFORM = ("--method", "uniform", "--budget", "macs=50%")


def failed(finished: Finished, code: int, *mentions: str) -> None:
    """`code`, one message with `mentions`, and no traceback."""
    assert finished.code == code, finished.err
    assert finished.out == ""
    assert "Traceback" not in finished.err
    assert len(re.findall("^adapt: ", finished.err, re.MULTILINE)) == 1
    for mention in mentions:
        assert mention in finished.err


def stop(running: Running, number: signal.Signals) -> Finished:
    """Send the signal; the agent must be gone when the command has ended."""
    agents = running.descendants()
    running.process.send_signal(number)
    running.process.send_signal(signal.SIGCONT)
    finished = running.wait()
    _, alive = psutil.wait_procs(agents, timeout=0)
    assert not alive
    return finished


def test_stop_and_go_on(adapt: Adapt) -> None:
    """Two runs at once, Ctrl-C, SIGTERM, a full disk; in the end the job is done.

    The baseline is made by the same method in as many steps: it must be the same network, although
    each was stopped at other moments.
    """
    job = adapt.jobs / "digits-1"
    journal, baseline = job / "journal", job / "journal" / "uniform"
    command = ["run", *adapt.DEMO, *UNIFORM, "--compare=uniform", "--long-steps=400"]
    first = adapt.start(*command)
    first.until(lambda: (journal / "0001.json").exists())

    first.process.send_signal(signal.SIGSTOP)  # It holds its locks and gets no further.
    holder = f"in use by process {first.process.pid}"
    failed(adapt.quick(*command), BUSY, "the device local is", holder)
    assert [path.name for path in adapt.jobs.iterdir()] == ["digits-1"]
    failed(adapt.quick("resume", job), BUSY, f"the job {job} is", holder)

    failed(stop(first, signal.SIGINT), INTERRUPTED, "stopped", f"adapt resume {job}")
    assert not baseline.exists()

    again = adapt.start("resume", "digits-1")
    again.until(lambda: (baseline / "0001.json").exists())
    failed(stop(again, signal.SIGTERM), INTERRUPTED, "stopped", f"adapt resume {job}")

    # What the next step would be written to has no room.
    steps = len(list(baseline.glob("*.json")))
    (baseline / f"{steps:04d}.npz.part").symlink_to("/dev/full")
    full = adapt.quick("resume", job)
    failed(full, INPUT, "No space left on device", "Make room", f"adapt resume {job}")
    assert len(list(baseline.glob("*.json"))) == steps

    finished = adapt.quick("resume", job, "--json")
    assert finished.code == 0, finished.err
    assert [n["steps_trained"] for n in json.loads(finished.out)["networks"]] == [0, 400, 400]
    assert (job / "adapted.tflite").read_bytes() == (job / "uniform.tflite").read_bytes()
    done = adapt.quick("resume", job, "--json")
    assert (done.code, done.out) == (0, finished.out)


def test_ctrl_c_before_there_is_a_job(bare_adapt: Adapt) -> None:
    running = bare_adapt.start("run", *bare_adapt.DEMO, *UNIFORM)
    maps = Path(f"/proc/{running.process.pid}/maps")
    running.until(lambda: "/tensorflow/" in maps.read_text())  # It is being imported.
    failed(stop(running, signal.SIGINT), INTERRUPTED, "stopped")


@pytest.mark.parametrize("stopped", [True, False])
def test_ctrl_c_amid_the_import_of_a_native_module(
    stopped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a module says that it could not be imported; any other failure is a defect."""

    def load() -> None:
        raise ImportError("initialization failed") from (KeyboardInterrupt() if stopped else None)

    monkeypatch.setattr("adapt.config.load_config", load)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit if stopped else ImportError) as ended:
            main(["tables"], prog_name="adapt")
    finally:
        signal.signal(signal.SIGTERM, before)
    if isinstance(ended.value, SystemExit):
        assert ended.value.code == INTERRUPTED
        assert capsys.readouterr().err == "adapt: stopped\n"


def worker_of(running: Running) -> psutil.Process | None:
    """The process that times models, while there is one."""
    for process in running.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            line = process.cmdline()
            if "device_agent.worker" in line and "--identify" not in line:
                return process
    return None


def test_an_agent_that_dies_and_inputs_that_change(bare_adapt: Adapt) -> None:
    """The agent is killed amid a batch; what the job began with must be what it goes on with."""
    adapt = bare_adapt
    model, data = adapt.folder / "my [net].keras", adapt.folder / "data.npz"
    shutil.copy(MODEL, model)
    x_train, y_train, x_test, y_test = digits_arrays()

    def save(labels: np.ndarray) -> None:
        np.savez(data, x_train=x_train, y_train=y_train, x_test=x_test, y_test=labels)

    save(y_test)
    running = adapt.start("run", "--model", model, "--data", data, *UNIFORM, "--long-steps", "2")
    running.until(lambda: worker_of(running) is not None)
    agent, *others = running.descendants()
    agent.kill()
    job = adapt.jobs / "my--net--1"
    failed(running.wait(), DEVICE, "killed by signal 9", f"adapt resume {job}")
    _, alive = psutil.wait_procs([agent, *others], timeout=15)
    assert not alive

    whole = model.read_bytes()
    model.write_bytes(whole + b"\0")
    failed(adapt.quick("resume", job), INPUT, f"{model} has changed", "adapt run")
    model.unlink()
    failed(adapt.quick("resume", job), INPUT, f"no model file {model}")
    model.write_bytes(whole)

    save(y_test[::-1])
    failed(adapt.quick("resume", job), INPUT, f"data {data} has changed", "adapt run")
    save(y_test)

    # Nor does kill -9 leave an agent behind that is busy measuring.
    running = adapt.start("resume", job)
    running.until(lambda: worker_of(running) is not None)
    running.kill()

    adapt.folder = adapt.folder / "elsewhere"
    adapt.folder.mkdir()
    finished = adapt.quick("resume", Path("..") / "jobs" / job.name, "--json")
    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["networks"][1]["cost"]["latency"]["measured"] > 0
