"""Models that kill or stop the worker: the batch goes on, the culprit gets a verdict."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_agent.batch import address_space, memory_bytes
from device_agent.v1 import agent_pb2

Make = Callable[..., agent_pb2.MeasureRequest]
MEASURED_OR_NOT = (agent_pb2.STATUS_MEASURED, agent_pb2.STATUS_NOT_CONVERGED)
# One long window after the other, so that a test can hit the worker within one.
LONG = {"target_relative_error": 0.0005, "max_windows": 2, "window_us": 400_000}
# Enough of them for two workers to be hit.
MANY = LONG | {"max_windows": 8}


@pytest.fixture
def own_agent(start_agent: Callable[..., Any]) -> Any:
    """An agent of which a test may count the workers."""
    return start_agent()


@pytest.fixture
def hasty(start_agent: Callable[..., Any]) -> Any:
    """An agent that takes five seconds of silence for a hang."""
    return start_agent("--hang-seconds", "5")


@pytest.mark.parametrize(
    ("memory", "space"), [(24 << 30, 6 << 30), (10 << 30, 6 << 30), (5 << 30, 4 << 30)]
)
def test_a_worker_leaves_memory_to_others(memory: int, space: int) -> None:
    assert address_space(memory) == space
    assert address_space(memory_bytes()) > 1 << 30


def has_spoken(pid: int) -> bool:
    """Whether a worker has said anything: its first word is which model it loads."""
    counts = Path(f"/proc/{pid}/io").read_text().splitlines()
    return any(line.startswith("wchar: ") and line != "wchar: 0" for line in counts)


def strike(agent: Any, number: signal.Signals, times: int, after: float = 0.2) -> threading.Thread:
    """Send a signal to each of the next `times` workers, `after` seconds after its first word."""

    def run() -> None:
        known: list[int] = []
        for _ in range(times):
            known.append(agent.worker(known))
            agent.until(lambda: has_spoken(known[-1]))
            time.sleep(after)
            os.kill(known[-1], number)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def finish(agent: Any, request: agent_pb2.MeasureRequest) -> tuple[dict[str, Any], int]:
    answers = list(agent.measure(request))
    results = [a.result for a in answers if a.HasField("result")]
    assert len(results) == len(request.models)
    return {r.id: r for r in results}, answers[-1].finished.workers_started


def test_one_death_costs_a_second_try_and_nothing_else(
    own_agent: Any, make_request: Make, small_model: bytes
) -> None:
    request = make_request({f"m{i}": small_model for i in range(4)}, **LONG)
    thread = strike(own_agent, signal.SIGKILL, 1)
    results, workers = finish(own_agent, request)
    thread.join()
    assert {r.status for r in results.values()} <= set(MEASURED_OR_NOT)
    assert all(r.nodes == 13 for r in results.values())
    assert workers == 3


def test_the_windows_of_a_dead_worker_are_kept(
    own_agent: Any, make_request: Make, small_model: bytes
) -> None:
    options = LONG | {"window_us": 800_000}
    request = make_request({f"m{i}": small_model for i in range(3)}, **options)
    # In the second round, which lasts from 2.4 to 4.8 s: each model has one window by then.
    thread = strike(own_agent, signal.SIGKILL, 1, after=3.4)
    results, workers = finish(own_agent, request)
    thread.join()
    assert workers == 3
    assert [len(r.windows) for r in results.values()] == [2, 2, 2]
    starts = sorted(w.start_ms for r in results.values() for w in r.windows)
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_two_deaths_are_a_crash(
    own_agent: Any, make_request: Make, small_model: bytes, number: signal.Signals
) -> None:
    thread = strike(own_agent, number, 2)
    results, workers = finish(own_agent, make_request({"bad": small_model}, **MANY))
    thread.join()
    assert results["bad"].status == agent_pb2.STATUS_CRASHED
    assert results["bad"].signal == number
    assert workers == 2


def test_two_silences_are_a_hang(hasty: Any, make_request: Make, small_model: bytes) -> None:
    thread = strike(hasty, signal.SIGSTOP, 2)
    results, workers = finish(hasty, make_request({"bad": small_model}, **MANY))
    thread.join()
    assert results["bad"].status == agent_pb2.STATUS_HUNG
    assert results["bad"].signal == 0
    assert workers == 2
    assert hasty.workers() == []


def test_a_hang_does_not_stop_the_others(
    hasty: Any, make_request: Make, small_model: bytes
) -> None:
    request = make_request({"a": small_model, "b": small_model}, **LONG)
    thread = strike(hasty, signal.SIGSTOP, 1)
    results, workers = finish(hasty, request)
    thread.join()
    assert {r.status for r in results.values()} <= set(MEASURED_OR_NOT)
    assert workers == 3


def test_a_hang_that_shows_after_the_time_limit_gets_its_second_try(
    hasty: Any, make_request: Make, small_model: bytes
) -> None:
    options = LONG | {"time_limit_ms": 4_000, "window_us": 1_000_000}
    request = make_request({"a": small_model}, **options)
    thread = strike(hasty, signal.SIGSTOP, 1)
    results, workers = finish(hasty, request)
    thread.join()
    assert workers == 2
    assert results["a"].status in MEASURED_OR_NOT


def test_a_model_that_the_runtime_refuses(
    agent: Any, make_request: Make, shared_model: Callable[[str], bytes], small_model: bytes
) -> None:
    bad = shared_model("invalid_invoking_error.tflite")
    results, workers = finish(
        agent, make_request({"bad": bad, "no": b"\0" * 64, "ok": small_model})
    )
    assert results["bad"].status == agent_pb2.STATUS_REFUSED
    assert "fake-op-double" in results["bad"].detail
    assert results["no"].status == agent_pb2.STATUS_REFUSED
    assert results["ok"].status in MEASURED_OR_NOT
    assert workers == 1


def test_damaged_models_leave_the_agent_serving(
    agent: Any, make_request: Make, small_model: bytes
) -> None:
    generator = random.Random(7)
    mutants = {"sound": small_model}
    for number in range(40):
        data = bytearray(small_model)
        for _ in range(generator.choice([1, 8, 64])):
            data[generator.randrange(len(data))] = generator.randrange(256)
        cut = generator.choice([len(data), len(data), generator.randrange(1, len(data))])
        mutants[f"mutant{number}"] = bytes(data[:cut])
    results, _ = finish(agent, make_request(mutants, window_us=500, max_windows=2))
    assert results["sound"].status in MEASURED_OR_NOT
    assert agent_pb2.STATUS_REFUSED in {r.status for r in results.values()}
    assert agent.results(make_request({"again": small_model}))["again"].windows
