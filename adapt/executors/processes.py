"""Workers as processes of this machine, each with a TensorFlow of its own."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from adapt.executors.base import Outcome, Task
from adapt.executors.crew import Crew, Died
from adapt.executors.worker import Failure, Recipe, serve

__all__ = ["crew_of_processes", "undisturbed"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM wait until the body is done; of the main thread, which they go to.

    Blocking them would not do: the system then hands them to another thread of TensorFlow's, and
    Python interrupts the main one all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def crew_of_processes(recipe: Recipe, workers: int) -> Crew[_Process]:
    """An executor over so many processes, started when they are needed."""
    return Crew(lambda: _Process(recipe), _first_done, workers)


class _Process:
    """A worker process; it ends when this one does, however that ends."""

    def __init__(self, recipe: Recipe) -> None:
        # Not forked: of TensorFlow's threads, a fork has none.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, recipe), daemon=True)
        # Ctrl-C reaches every process of a terminal; a worker would die of it with a traceback
        # until it ignores it. What is blocked here is blocked in what is started.
        resource_tracker.ensure_running()  # It would unblock.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with undisturbed():  # One that was told half would die of that.
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        # Theirs alone, so that it closes when they end.
        theirs.close()

    def begin(self, task: Task) -> None:
        """See `Worker.begin`."""
        try:
            self.connection.send(task)
        except OSError:
            raise self._death() from None

    def answer(self) -> Outcome | Failure:
        """See `Worker.answer`."""
        try:
            answer: Outcome | Failure = self.connection.recv()
        except (EOFError, OSError):
            raise self._death() from None
        return answer

    def close(self) -> None:
        """See `Worker.close`."""
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _death(self) -> Died:
        self._process.join()
        code = self._process.exitcode or 0
        return Died(signal.Signals(-code).name if code < 0 else f"exit code {code}")


def _first_done(workers: Sequence[_Process]) -> Sequence[_Process]:
    ready = wait([worker.connection for worker in workers])
    return [worker for worker in workers if worker.connection in ready]
