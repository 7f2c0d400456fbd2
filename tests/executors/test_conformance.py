"""What holds for every executor: the same bits, in order, whoever dies on the way."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from adapt.errors import WorkerError
from adapt.executors.base import Executor, Outcome, Task
from adapt.executors.here import Here
from adapt.executors.processes import crew_of_processes
from adapt.executors.worker import Recipe
from adapt.training.data import Data
from adapt.training.finetune import Schedule, Trainer

WORKERS = 2
# A worker takes some seconds to be there.
STARTED_S = 60
RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'"
)
# Whose command line a worker has: a spawned interpreter, or an actor of this class.
COMMANDS = {"processes": "spawn_main", "ray": "Opened"}


def made(name: str, recipe: Recipe) -> Any:
    """An executor of several workers."""
    if name == "ray":
        from adapt.executors.ray_actors import crew_on_ray

        return crew_on_ray(recipe, WORKERS)
    return crew_of_processes(recipe, WORKERS)


@pytest.fixture(scope="module", params=["processes", pytest.param("ray", marks=RAY)])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def crew(name: str, recipe: Recipe) -> Iterator[Any]:
    executor = made(name, recipe)
    yield executor
    executor.close()
    assert not workers_of(name)


@pytest.fixture(scope="module")
def expected(digits_trainer: Trainer, digits_data: Data, tasks: list[Task]) -> list[Any]:
    here: Executor = Here(digits_trainer, digits_data)
    return [bits(outcome) for outcome in here.run(tasks)]


def bits(outcome: Outcome) -> Any:
    """All of an outcome, to be compared byte by byte."""
    found = outcome.checkpoint
    if found is None:
        return outcome.score, outcome.early
    parts = (found.weights, found.first, found.second)
    arrays = [[(p, v.shape, v.tobytes()) for p, v in sorted(part.items())] for part in parts]
    return outcome.score, outcome.early, found.step, arrays


def workers_of(name: str) -> list[psutil.Process]:
    """The worker processes that this one has."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if COMMANDS[name] in command and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_outcomes_are_those_of_one_process(
    crew: Any, tasks: list[Task], expected: list[Any]
) -> None:
    assert [bits(outcome) for outcome in crew.run(tasks)] == expected
    # In another order, by other workers.
    assert [bits(outcome) for outcome in crew.run(tasks[::-1])] == expected[::-1]


def test_a_worker_that_dies_is_replaced(
    crew: Any, name: str, tasks: list[Task], expected: list[Any]
) -> None:
    killed = []

    def murderous() -> Iterator[Task]:
        for number, task in enumerate(tasks):
            if number == WORKERS:  # All are at work, or about to be.
                killed.append(workers_of(name)[0].pid)
                os.kill(killed[0], signal.SIGKILL)
            yield task

    assert [bits(outcome) for outcome in crew.run(murderous())] == expected
    assert killed[0] not in {process.pid for process in workers_of(name)}


def test_no_tasks(crew: Any) -> None:
    assert list(crew.run([])) == []


def test_who_gives_up_has_taken_few_tasks(
    crew: Any, tasks: list[Task], expected: list[Any]
) -> None:
    taken = []

    def counted() -> Iterator[Task]:
        for task in tasks:
            taken.append(task)
            yield task

    outcomes = crew.run(counted())
    assert bits(next(outcomes)) == expected[0]
    assert len(taken) <= 2 * WORKERS
    outcomes.close()  # What the workers are at is nobody's by now.


def lethal(begin: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`begin`, after which no worker lives."""

    def begun(errand: Any) -> Any:
        again = begin(errand)
        deadline = time.monotonic() + STARTED_S
        while not (found := workers_of(name)) and time.monotonic() < deadline:
            time.sleep(0.01)  # An actor starts while the program goes on.
        for process in found:
            os.kill(process.pid, signal.SIGKILL)
        return again

    return begun


def test_a_task_that_ends_its_workers_is_given_up(
    crew: Any, name: str, tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_begun", lethal(crew._begun, name))
    # So many steps that it is not answered before its worker is gone.
    endless = replace(tasks[1], schedule=Schedule(0.001, 100_000, cosine=False))
    with pytest.raises(WorkerError, match="ended its worker 2 times") as caught:
        list(crew.run([endless]))
    assert "--executor here" in caught.value.todo
