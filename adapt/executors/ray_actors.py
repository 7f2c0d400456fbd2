"""Workers as actors of a Ray cluster: the one of $RAY_ADDRESS, or a small one made here."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from typing import Any

from adapt.errors import UsageError, WorkerError
from adapt.executors.base import Outcome, Task
from adapt.executors.crew import Crew, Died
from adapt.executors.worker import Failure, Opened, Recipe

__all__ = ["crew_on_ray", "import_ray"]

_ADDRESS = "RAY_ADDRESS"


def crew_on_ray(recipe: Recipe, workers: int) -> Crew[_Actor]:
    """An executor over so many actors, each with `recipe.threads` processors.

    UsageError where Ray is not installed; WorkerError where its cluster cannot be reached, or has
    too few processors.
    """
    ray = import_ray()

    def hire() -> _Actor:
        _join(ray, workers * recipe.threads)
        return _Actor(ray, recipe)

    def first_done(busy: Sequence[_Actor]) -> Sequence[_Actor]:
        by_future = {worker.future: worker for worker in busy}
        ready, _ = ray.wait(list(by_future), num_returns=1)
        return [by_future[future] for future in ready]

    return Crew(hire, first_done, workers, leave=ray.shutdown)


def import_ray() -> Any:
    """The package `ray`; UsageError where it is not installed."""
    # Nothing of a job is told to anybody, and nobody is asked whether there is a newer Ray.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--executor ray needs Ray, which is not installed",
            "Install it with `pip install 'adaptd[ray]'`, or take --executor processes.",
        ) from error
    return ray


def _join(ray: Any, processors: int) -> None:
    """Connect to the cluster, unless that is done; without one, make one for this process."""
    if ray.is_initialized():
        return
    made = {} if os.environ.get(_ADDRESS) else {"num_cpus": processors, "include_dashboard": False}
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **made)
    except (OSError, RuntimeError, ValueError) as error:
        raise WorkerError(
            f"Ray does not start: {error}", f"Check ${_ADDRESS}, or unset it."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, terminate)  # Ray puts its own in place.
    present = float(ray.cluster_resources().get("CPU", 0.0))
    if present < processors:
        raise WorkerError(
            f"the Ray cluster has {present:g} processors, {processors} are needed",
            "Take fewer --workers or --threads.",
        )


class _Actor:
    """An actor with its worker; `future` is the answer to the task at hand."""

    def __init__(self, ray: Any, recipe: Recipe) -> None:
        self._ray = ray
        remote = ray.remote(num_cpus=recipe.threads, max_restarts=0, max_task_retries=0)(Opened)
        self._handle = remote.remote(recipe)
        self.future: Any = None

    def begin(self, task: Task) -> None:
        """See `Worker.begin`; it does not wait, and a dead actor shows in the answer."""
        self.future = self._handle.attempt.remote(task)

    def answer(self) -> Outcome | Failure:
        """See `Worker.answer`."""
        try:
            answer: Outcome | Failure = self._ray.get(self.future)
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            raise Died(f"the actor is gone: {first}") from error
        return answer

    def close(self) -> None:
        """See `Worker.close`."""
        self._ray.kill(self._handle, no_restart=True)
