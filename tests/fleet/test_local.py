"""This machine as a device: a real agent, from its start to every way it can end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapt.errors import Busy, DeviceError
from adapt.fleet.client import AgentClient
from adapt.fleet.device import Batch, MeasureOptions, ModelFile, Progress, Status
from adapt.fleet.local import LocalDevice
from tests.fleet.adb.lab import until

QUICK = MeasureOptions(target_relative_error=0.05, window_us=2_000, time_limit_ms=20_000)
# Never settles within the few seconds that a test needs.
SLOW = MeasureOptions(
    target_relative_error=0.0005, max_windows=200, window_us=1_000_000, time_limit_ms=60_000
)


def once(action: Callable[[], None]) -> Callable[[Progress], None]:
    """Call `action` at the first sign of progress."""
    done: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        if not done:
            action()
        done.append(progress)

    return on_progress


def test_two_networks(local: LocalDevice, shared_model: Callable[[str], bytes]) -> None:
    names = ("kws_dscnn_int8.tflite", "resnet8_cifar10_float.tflite")
    batch = local.measure([ModelFile(n, shared_model(n)) for n in names], QUICK)
    fast, slow = (batch.outcomes[n] for n in names)
    for outcome in (fast, slow):
        assert outcome.status in (Status.MEASURED, Status.NOT_CONVERGED)
        assert 0 < outcome.windows[0].low_us < slow.windows[0].low_us * 1.01
    assert (fast.nodes, slow.nodes) == (13, 16)
    assert batch.wall_ms > 0
    assert batch.after.monotonic_ns > batch.before.monotonic_ns


def test_description_and_platform(local: LocalDevice) -> None:
    description = local.describe()
    platform = local.platform("builtin", 1)
    assert description.platform("builtin", 1) == platform
    assert platform.device_model == description.identity.device_model
    assert description.identity.backends == ("xnnpack", "builtin")
    assert description.limits.max_threads == len(os.sched_getaffinity(0))
    assert local.name == "local"


def test_refusals_are_plain(local: LocalDevice, small_model: bytes) -> None:
    with pytest.raises(DeviceError, match=r"refused the request: options\.threads is 999"):
        local.measure([ModelFile("a", small_model)], MeasureOptions(threads=999))


def test_an_agent_that_is_killed(local: LocalDevice, small_model: bytes) -> None:
    kill = once(lambda: os.kill(local.pid, signal.SIGKILL))
    with pytest.raises(DeviceError, match=r"was killed by signal 9; its last words:\n.*batch of 1"):
        local.measure([ModelFile("a", small_model)], SLOW, kill)
    with pytest.raises(DeviceError, match="was killed by signal 9"):
        local.describe()


def test_closing_ends_everything(small_model: bytes) -> None:
    device = LocalDevice()
    pid = device.pid
    device.describe()
    device.close()
    device.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(DeviceError, match="closed"):
        device.describe()


def test_closing_a_stopped_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapt.fleet.local.CLOSE_SECONDS", 0.2)
    device = LocalDevice()
    os.kill(device.pid, signal.SIGSTOP)
    device.close()
    assert not Path(f"/proc/{device.pid}").exists()


def test_a_python_without_the_agent(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be started"):
        LocalDevice(tmp_path / "python")
    python = tmp_path / "broken"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    python.chmod(0o755)
    for _ in range(10):
        # Sometimes it dies before the token is written, sometimes after.
        with pytest.raises(DeviceError, match=r"exit status 3; its last words:\n\s+no such module"):
            LocalDevice(python)


def test_arguments_that_the_agent_refuses() -> None:
    with pytest.raises(DeviceError, match="unrecognized arguments: --nonsense"):
        LocalDevice(arguments=["--nonsense"])


def test_the_token_is_in_no_command_line(local: LocalDevice) -> None:
    command = Path(f"/proc/{local.pid}/cmdline").read_text()
    environment = Path(f"/proc/{local.pid}/environ").read_text()
    assert re.search(r"[0-9a-f]{64}", command + environment) is None
    assert f"{sys.executable}" in command


@pytest.fixture
def second_host(local: LocalDevice) -> Any:
    """Makes further clients of the local agent."""
    assert local._client is not None
    token = local._client._metadata[0][1].removeprefix("Bearer ")
    target = f"unix:{local._folder.name}/socket"
    clients: list[AgentClient] = []

    def connect(token: str = token, **options: Any) -> AgentClient:
        clients.append(AgentClient("other", target, token, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_somebody_else_is_measuring(
    local: LocalDevice, second_host: Any, small_model: bytes
) -> None:
    other = second_host()
    refusals: list[str] = []

    def intrude() -> None:
        with pytest.raises(Busy, match="somebody else") as caught:
            other.measure([ModelFile("b", small_model)], QUICK)
        refusals.append(caught.value.what)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.measure([ModelFile("a", small_model)], SLOW, once(intrude))
    assert len(refusals) == 1
    # The interrupted batch has been cancelled; its worker is ended in a moment.
    batches: list[Batch] = []

    def free() -> bool:
        with contextlib.suppress(Busy):
            batches.append(other.measure([ModelFile("b", small_model)], QUICK))
        return bool(batches)

    until(free, 30.0)
    assert batches[0].outcomes["b"].windows


def test_a_wrong_token(second_host: Any) -> None:
    with pytest.raises(DeviceError, match="does not accept this host's token"):
        second_host("0" * 64).describe()


def test_a_hung_agent_is_noticed(local: LocalDevice, second_host: Any, small_model: bytes) -> None:
    # The intervals of real use are 10 s and 5 s.
    client = second_host(keepalive_ms=1_000, ping_timeout_ms=500)
    stop = once(lambda: os.kill(local.pid, signal.SIGSTOP))
    begin = time.monotonic()
    with pytest.raises(DeviceError, match="stopped answering"):
        client.measure([ModelFile("a", small_model)], SLOW, stop)
    assert time.monotonic() - begin < 15
    os.kill(local.pid, signal.SIGCONT)


def test_measuring_from_another_thread(local: LocalDevice, small_model: bytes) -> None:
    found: list[Status] = []

    def run() -> None:
        batch = local.measure([ModelFile("a", small_model)], QUICK)
        found.append(batch.outcomes["a"].status)

    thread = threading.Thread(target=run)
    thread.start()
    assert local.describe().identity.runtime
    thread.join()
    assert found[0] in (Status.MEASURED, Status.NOT_CONVERGED)
