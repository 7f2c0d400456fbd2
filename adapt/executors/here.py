"""Candidates carried out in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adapt.executors.base import Outcome, Task, carry_out
from adapt.training.data import Data
from adapt.training.finetune import Trainer

__all__ = ["Here"]


class Here:
    """An executor that uses `trainer`."""

    def __init__(self, trainer: Trainer, data: Data) -> None:
        self._trainer, self._data = trainer, data

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Executor.run`."""
        return (carry_out(task, self._trainer, self._data) for task in tasks)

    def close(self) -> None:
        """Nothing was started."""
