"""The seam between a search and the processes that carry its candidates out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from adapt.training.data import Data, Split
from adapt.training.finetune import Checkpoint, Schedule, Trainer
from adapt.training.scores import Score

__all__ = ["Examples", "Executor", "Outcome", "Task", "carry_out", "deciding"]

# Held-out examples by which tuned proposals are compared: chance then moves accuracy by a percent,
# and the same way for all of them.
_DECIDING = 2000


class Examples(StrEnum):
    """What a candidate is scored on: the few that screen, those that decide, or all held out."""

    SCREENING = "screening"
    DECIDING = "deciding"
    HOLDOUT = "holdout"


@dataclass(frozen=True)
class Task:
    """A candidate: `start` is fine-tuned by `schedule`, unless that is None, and then scored.

    With `renew`, it is scored with the statistics of batch normalisations found anew. With
    `early`, it is screened after so many steps already.
    """

    start: Checkpoint
    schedule: Schedule | None
    seed: int
    examples: Examples
    renew: bool
    early: int = 0


@dataclass(frozen=True)
class Outcome:
    """The candidate's score; the checkpoint as fine-tuning left it, but for what was only screened.

    `early` is its score after the first few steps, where that was asked for.
    """

    score: Score
    checkpoint: Checkpoint | None
    early: Score | None = None


class Executor(Protocol):
    """Carries tasks out. The bits of an outcome depend on its task and the threads alone."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """The outcomes, in the order of `tasks`, of which few are taken ahead.

        WorkerError where a task cannot be carried out, however often it is tried.
        """
        ...

    def close(self) -> None:
        """End whatever was started."""
        ...


def deciding(data: Data) -> Split:
    """The held-out examples that decide between tuned proposals, at most a few thousand."""
    return data.holdout.evenly(_DECIDING)


def carry_out(task: Task, trainer: Trainer, data: Data) -> Outcome:
    """What every executor does with a task, in one process or another."""
    tuned = early = None
    weights = task.start.weights
    if task.schedule is not None:
        start = task.start
        if task.early:
            start = trainer.train(start, task.schedule, seed=task.seed, until=task.early)
            early = trainer.screened(start.weights)
        tuned = trainer.train(start, task.schedule, seed=task.seed)
        weights = tuned.weights
    match task.examples:
        case Examples.SCREENING:
            # Nobody goes on from what only was to be looked at.
            return Outcome(trainer.screened(weights), None, early)
        case Examples.DECIDING:
            split = deciding(data)
        case Examples.HOLDOUT:
            split = data.holdout
    weights = trainer.renewed(weights) if task.renew else weights
    return Outcome(trainer.score(weights, split), tuned, early)
