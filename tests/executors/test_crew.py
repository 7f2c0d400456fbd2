"""What a crew makes of the answers of its workers; and of a worker that cannot open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapt.errors import AdaptError, InputError, WorkerError
from adapt.executors.base import Outcome, Task
from adapt.executors.crew import Crew, Died
from adapt.executors.worker import Failure, Opened, Recipe
from adapt.training.scores import Score


class Puppet:
    """A worker whose answers are known; None where it dies instead."""

    def __init__(self, answers: list[Outcome | Failure | None], refuses: bool = False) -> None:
        self._answers, self._refuses = answers, refuses
        self.is_closed = False

    def begin(self, task: Task) -> None:
        if self._refuses:
            raise Died("it was never there")

    def answer(self) -> Outcome | Failure:
        answer = self._answers.pop(0)
        if answer is None:
            raise Died("SIGKILL")
        return answer

    def close(self) -> None:
        self.is_closed = True


def outcome(number: int) -> Outcome:
    return Outcome(Score(0.0, float(number)), None)


def last_first(busy: Sequence[Puppet]) -> Sequence[Puppet]:
    return busy[-1:]


def crew_of(*puppets: Puppet, size: int = 1) -> Crew[Puppet]:
    return Crew(iter(puppets).__next__, last_first, size)


def test_outcomes_come_in_order_although_others_are_first(tasks: list[Task]) -> None:
    # The first task goes to the one that was hired last; the last that is busy answers first.
    slow, quick = Puppet([outcome(0)]), Puppet([outcome(n) for n in (1, 2, 3)])
    losses = [each.score.loss for each in crew_of(quick, slow, size=2).run(tasks[:4])]
    assert losses == [0.0, 1.0, 2.0, 3.0]


def test_a_task_is_tried_once_more(tasks: list[Task]) -> None:
    first, second = Puppet([None]), Puppet([outcome(7), outcome(8)])
    crew = crew_of(first, second)
    assert [each.score.loss for each in crew.run(tasks[:2])] == [7.0, 8.0]
    assert first.is_closed
    crew.close()
    assert second.is_closed


def test_a_worker_that_takes_nothing_is_replaced(tasks: list[Task]) -> None:
    crew = crew_of(Puppet([], refuses=True), Puppet([outcome(1)]))
    assert [each.score.loss for each in crew.run(tasks[:1])] == [1.0]


def test_and_then_no_more(tasks: list[Task]) -> None:
    crew = crew_of(Puppet([None]), Puppet([None]), Puppet([outcome(0)]))
    with pytest.raises(WorkerError, match="ended its worker 2 times: SIGKILL"):
        list(crew.run(tasks[:1]))


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (Failure("no such file", "Put it back.", is_input=True), InputError, "no such file"),
        (Failure("ValueError: odd"), WorkerError, "could not go on: ValueError: odd"),
    ],
)
def test_errors_are_those_of_the_user_or_of_workers(
    tasks: list[Task], failure: Failure, kind: type[AdaptError], message: str
) -> None:
    other, puppet = Puppet([outcome(0)]), Puppet([failure])
    crew = crew_of(other, puppet, size=2)
    with pytest.raises(kind, match=message):
        list(crew.run(tasks[:2]))
    crew.close()
    assert other.is_closed
    assert puppet.is_closed


def test_a_model_that_changed(recipe: Recipe, tasks: list[Task]) -> None:
    answer = Opened(replace(recipe, model_sha256="0" * 64)).attempt(tasks[0])
    assert isinstance(answer, Failure)
    assert answer.is_input
    assert "has changed since the job began" in answer.what
