"""What a worker is and does, wherever it runs: opened once, then one task after the other.

TensorFlow is not imported with this module, so that a worker can silence it first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from adapt.errors import AdaptError, InputError

if TYPE_CHECKING:
    from adapt.executors.base import Outcome, Task

__all__ = ["Failure", "Opened", "Recipe", "serve"]


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to do as the job's own process does; all of it plain values.

    `data` is the folder that `training.stored.store` wrote. `teacher` is the share of the loss
    that is the original network's, and the temperature; None without one.
    """

    model: Path
    model_sha256: str
    data: Path
    batch: int
    teacher: tuple[float, float] | None
    optimiser: str
    augmentation: str
    mixed: bool
    threads: int


@dataclass(frozen=True)
class Failure:
    """An error that ended a task; `is_input` where the job's files are to blame."""

    what: str
    todo: str = ""
    is_input: bool = False


class Opened:
    """A worker that has read the network and the data, or says with each task why it cannot."""

    def __init__(self, recipe: Recipe) -> None:
        """Takes seconds; raises nothing."""
        self._refusal: Failure | None = None
        try:
            self._carry_out = _opened(recipe)
        except Exception as error:  # Whatever it is, whoever waits is to hear of it.
            self._refusal = _failure(error)

    def attempt(self, task: Task) -> Outcome | Failure:
        """What comes of `task`, or how it failed, as values that travel between processes."""
        if self._refusal is not None:
            return self._refusal
        try:
            return self._carry_out(task)
        except Exception as error:  # As above.
            return _failure(error)


def serve(connection: Connection, recipe: Recipe) -> None:
    """What a worker process does: tasks in, outcomes out, until the other side is gone."""
    # Ctrl-C reaches every process of a terminal; the job's own decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Opened(recipe)
    with suppress(EOFError, OSError):
        while True:
            connection.send(worker.attempt(connection.recv()))


def _end_with_parent() -> None:
    """Leave when the process that started this one does, also in the middle of a task."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _opened(recipe: Recipe) -> Callable[[Task], Outcome]:
    """What carries tasks out, with the network and the data read."""
    from adapt.telemetry import import_tensorflow

    import_tensorflow()
    from adapt.executors.base import carry_out
    from adapt.network.elastic import ElasticNetwork
    from adapt.network.groups import find_groups
    from adapt.network.load import file_digest, load_model
    from adapt.network.shrink import read_weights
    from adapt.training.augmentation import Augmentation
    from adapt.training.finetune import Teacher, Trainer, pin_threads
    from adapt.training.optimiser import Optimiser
    from adapt.training.stored import open_stored

    if file_digest(recipe.model) != recipe.model_sha256:
        raise InputError(f"{recipe.model} has changed since the job began", "Put it back.")
    pin_threads(recipe.threads)
    model = load_model(recipe.model)
    data = open_stored(recipe.data)
    teacher = Teacher(read_weights(model), *recipe.teacher) if recipe.teacher else None
    elastic = ElasticNetwork(model, find_groups(model), mixed=recipe.mixed)
    trainer = Trainer(
        elastic,
        data,
        batch=recipe.batch,
        teacher=teacher,
        optimiser=Optimiser(recipe.optimiser),
        augmentation=Augmentation(recipe.augmentation),
    )
    return lambda task: carry_out(task, trainer, data)


def _failure(error: Exception) -> Failure:
    if isinstance(error, AdaptError):
        return Failure(error.what, error.todo, isinstance(error, InputError))
    text = str(error).strip().splitlines()
    return Failure(f"{type(error).__name__}: {text[0] if text else 'no more is known'}")
