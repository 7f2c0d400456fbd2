"""Where a job's candidates are carried out, as its request says."""

from __future__ import annotations

from pathlib import Path

from adapt.executors.base import Executor
from adapt.executors.here import Here
from adapt.executors.worker import Recipe
from adapt.job.request import JobRequest
from adapt.training.data import Data
from adapt.training.finetune import Trainer
from adapt.training.rows import Room, available_bytes
from adapt.training.stored import store

__all__ = ["open_executor", "room_for"]

# The part of the free memory that examples may take; the rest is for networks and their workers.
_SHARE = 4


def room_for(request: JobRequest, folder: Path) -> Room:
    """Where the examples go: what does not fit into memory, to files in `folder`."""
    if request.data_memory is None:
        return Room(folder, available_bytes() // _SHARE)
    return Room(folder, int(request.data_memory * 1e9))


def open_executor(request: JobRequest, trainer: Trainer, data: Data, folder: Path) -> Executor:
    """The executor of `request`; for one of several processes, `data` is written to `folder`.

    UsageError where Ray is asked for and not installed. Workers start when they have something to
    do: until then, and between candidates, a device is measured on a quiet machine.
    """
    if request.executor == "here":
        return Here(trainer, data)
    store(data, folder)
    settings = request.settings
    recipe = Recipe(
        model=request.model,
        model_sha256=request.model_sha256,
        data=folder.absolute(),
        batch=settings.batch,
        teacher=(settings.distillation, settings.temperature) if settings.distillation else None,
        optimiser=settings.optimiser,
        augmentation=settings.augmentation,
        mixed=request.mixed_precision,
        threads=request.threads,
    )
    if request.executor == "ray":
        from adapt.executors.ray_actors import crew_on_ray

        return crew_on_ray(recipe, request.workers)
    from adapt.executors.processes import crew_of_processes

    return crew_of_processes(recipe, request.workers)
