"""Tasks shared out among workers that may die: which does what, and what is tried again.

It knows nothing of processes or clusters; `processes.py` and `ray_actors.py` bring the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from adapt.errors import InputError, WorkerError
from adapt.executors.base import Outcome, Task
from adapt.executors.worker import Failure

__all__ = ["Crew", "Died", "Worker"]

# A task is handed out so often at most: one that ends its worker twice would end the next as well.
_MOST_TRIES = 2


class Died(Exception):
    """A worker ended before it answered; the text says how."""


class Worker(Protocol):
    """A process that carries out one task at a time."""

    def begin(self, task: Task) -> None:
        """Hand `task` over; Died where nobody takes it."""
        ...

    def answer(self) -> Outcome | Failure:
        """What came of the task, once there is an answer; Died where there will be none."""
        ...

    def close(self) -> None:
        """End it at once, whatever it does."""
        ...


# Outcomes hold whole networks: for each worker, so many are waited for or wait for their turn.
_AHEAD = 2

_W = TypeVar("_W", bound=Worker)


@dataclass
class _Errand:
    """A task with its place in the order, and how often it was handed out."""

    number: int
    task: Task
    tries: int = 0


class Crew(Generic[_W]):
    """An executor over `size` workers, made by `hire` when there is work, and again where one died.

    `first_done` waits until one or more of some busy workers have answered or died; `leave` is
    called when all have been closed.
    """

    def __init__(
        self,
        hire: Callable[[], _W],
        first_done: Callable[[Sequence[_W]], Sequence[_W]],
        size: int,
        leave: Callable[[], object] | None = None,
    ) -> None:
        self._hire, self._first_done, self._size, self._leave = hire, first_done, size, leave
        self._idle: list[_W] = []
        self._busy: dict[_W, _Errand] = {}
        self._complete = False

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See `Executor.run`."""
        waiting = (_Errand(number, task) for number, task in enumerate(tasks))
        again: list[_Errand] = []
        done: dict[int, Outcome] = {}
        following = 0
        if not self._complete:  # All together: a task is handed over once its worker has opened.
            self._complete = True
            self._idle += (self._hire() for _ in range(self._size))
        try:
            while True:
                while len(self._busy) < self._size:
                    if not again:
                        if len(self._busy) + len(done) >= _AHEAD * self._size:
                            break
                        again.extend(islice(waiting, 1))
                    if not again:
                        break
                    errand = again.pop()
                    again += self._begun(errand)
                if not self._busy:
                    if again:
                        continue
                    return
                for worker in self._first_done(list(self._busy)):
                    errand = self._busy.pop(worker)
                    try:
                        answer = worker.answer()
                    except Died as death:
                        worker.close()
                        again.append(_once_more(errand, death))
                    else:
                        self._idle.append(worker)
                        done[errand.number] = _checked(answer)
                while following in done:
                    yield done.pop(following)
                    following += 1
        finally:
            # Who gave up waiting, or met an error, has no use for what the others are at.
            for worker in self._busy:
                worker.close()
            self._busy.clear()

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *self._busy]:
            worker.close()
        self._idle.clear()
        self._busy.clear()
        if self._complete and self._leave is not None:
            self._leave()
        self._complete = False

    def _begun(self, errand: _Errand) -> list[_Errand]:
        """Hand it to a worker; itself, to be tried again, where that died while it idled."""
        worker = self._idle.pop() if self._idle else self._hire()
        # Known from the start, so that it is ended whatever comes up.
        self._busy[worker] = errand
        errand.tries += 1
        try:
            worker.begin(errand.task)
        except Died as death:
            del self._busy[worker]
            worker.close()
            return [_once_more(errand, death)]
        return []


def _once_more(errand: _Errand, death: Died) -> _Errand:
    if errand.tries >= _MOST_TRIES:
        raise WorkerError(
            f"a candidate ended its worker {errand.tries} times: {death}",
            "It may lack memory: take fewer --workers, or --executor here.",
        )
    return errand


def _checked(answer: Outcome | Failure) -> Outcome:
    if isinstance(answer, Outcome):
        return answer
    if answer.is_input:
        raise InputError(answer.what, answer.todo)
    raise WorkerError(f"a worker could not go on: {answer.what}", answer.todo)
