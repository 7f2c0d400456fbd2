"""Carries a job out: steps of the method, measurements in between, and the results at the end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from adapt.errors import (
    AdaptError,
    BudgetUnreachable,
    DeviceError,
    InputError,
    TableError,
    UsageError,
    WorkerError,
)
from adapt.job.account import Ledger
from adapt.job.comparison import compare
from adapt.job.devices import open_devices
from adapt.job.files import DiskError, disk_errors
from adapt.job.folder import JobFolder
from adapt.job.listener import Listener
from adapt.job.request import JobRequest
from adapt.job.result import CurvePoint, JobResult
from adapt.job.sitting import Sitting
from adapt.job.target import Found, LeastCost, save_family
from adapt.job.track import Final, Track
from adapt.locks import locked
from adapt.methods import METHODS
from adapt.methods.base import Bench, Iteration, Settings, State, cost_of
from adapt.network.load import file_digest
from adapt.training.finetune import Checkpoint, pin_threads

__all__ = ["execute", "resume_command"]

# Points of a baseline's curve: each takes the steps of the iteration whose cost it has.
_CURVE_POINTS = 4


def execute(
    folder: JobFolder, *, home: Path, tables: Path, listener: Listener, fresh: bool = False
) -> JobResult:
    """Carry out the job in `folder`, or what is left of it, and write its result.

    `home` holds the locks, `tables` is the table file. Raises AdaptError of the kind that fits;
    what was journalled stays, and a second call goes on from there. A `fresh` job that cannot
    begin, because of bad data or a device that cannot be opened, leaves no folder.
    """
    if (result := folder.result) is not None:
        return result
    request = folder.request
    with ExitStack() as stack:
        stack.enter_context(_resumable(folder))
        stack.enter_context(disk_errors(folder.path))
        stack.enter_context(locked(folder.path / "lock", f"the job {folder.path}"))
        if fresh:
            stack.enter_context(_discarded_unless_begun(folder))
            stack.enter_context(disk_errors(folder.path))
        else:
            _check_model(request)
        pin_threads(request.threads)
        ledger = Ledger()
        devices = stack.enter_context(
            open_devices(folder, home=home, tables=tables, listener=listener, ledger=ledger)
        )
        stack.callback(folder.drop_data)
        sitting = Sitting.open(folder, devices, listener, ledger)
        stack.callback(sitting.executor.close)
        listener.began(folder.path)
        return _carry_out(sitting)


def resume_command(folder: Path) -> str:
    """What the user types to go on with the job in `folder`."""
    return f"adapt resume {shlex.quote(str(folder))}"


@contextmanager
def _resumable(folder: JobFolder) -> Iterator[None]:
    """Add to errors that pass how to go on after them."""
    try:
        yield
    except (DeviceError, DiskError, TableError, WorkerError) as error:
        if folder.exists:
            todo = f"Go on with: {resume_command(folder.path)}"
            error.todo = f"{error.todo}\n  {todo}" if error.todo else todo
        raise


@contextmanager
def _discarded_unless_begun(folder: JobFolder) -> Iterator[None]:
    """Remove the folder where an error that passes means that the job never began."""
    try:
        yield
    except AdaptError as error:
        hopeless = isinstance(error, BudgetUnreachable | InputError | UsageError)
        hopeless = hopeless and not isinstance(error, DiskError)
        if not folder.begun and (hopeless or not folder.prepared):
            folder.discard()
        raise


def _check_model(request: JobRequest) -> None:
    if not request.model.is_file():
        raise InputError(
            f"there is no model file {request.model} any more", "Put it back, or start a new job."
        )
    if file_digest(request.model) != request.model_sha256:
        raise InputError(
            f"{request.model} has changed since the job began",
            "Put it back as it was, or start a new job with `adapt run`.",
        )


def _carry_out(sitting: Sitting) -> JobResult:
    """All tracks to their end, then the results."""
    adapted, found = _adapted(sitting)
    finals = {"adapted": adapted, **_baselines(sitting, adapted, found)}
    curves = {str(name): list(_curve(sitting, name, found)) for name in sitting.request.compare}
    with sitting.ledger.timed("results"):
        networks = compare(sitting, finals)
    kept_whole = sitting.network.groups.kept_whole
    data, account = sitting.data, sitting.ledger.account
    result = JobResult(
        platforms=sitting.devices.platforms,
        precision=sitting.request.quantize,
        told_by=sitting.devices.told_by,
        limits=found.limits,
        target=found.target,
        networks=networks,
        history=found.history,
        curves=curves,
        kept_whole=[f"{kept.layer} ({kept.kind}): {kept.reason}" for kept in kept_whole],
        kernels_measured=account.kernels_measured,
        examples={
            "train": len(data.train),
            "holdout": len(data.holdout),
            "test": len(data.test),
        },
        seconds=account.seconds,
    )
    sitting.folder.finish(result)
    return result


def _adapted(sitting: Sitting) -> tuple[Final, Found]:
    """The network that was asked for, and how it was found."""
    request = sitting.request
    if request.target_accuracy is not None:
        return LeastCost(sitting).find()
    track = _track(sitting, "", request.method, request.settings, save_family)
    final = track.run()
    return final, Found(final.state.limits, final.state.history)


def _baselines(sitting: Sitting, adapted: Final, found: Found) -> dict[str, Final]:
    """The networks to compare with: at the same limits, after as many steps."""
    request, limits = sitting.request, dict(found.limits)
    if found.target is not None:
        cost = sitting.priced(partial(sitting.pricer.price, adapted.state.widths))
        limits |= {name: cost[name].value for name in found.target.minimised}
    # As many steps as the adapted network had, short and long together.
    settings = request.settings.model_copy(update={"long_steps": adapted.state.steps_trained})
    return {
        name: _track(sitting, name, name, settings, limits=limits).run() for name in request.compare
    }


def _curve(sitting: Sitting, name: str, found: Found) -> Iterator[CurvePoint]:
    """What the baseline `name` comes to at the costs of iterations, after as many steps."""
    settings = sitting.request.settings
    minimised = [] if found.target is None else found.target.minimised
    for point in _spread([point for point in found.history if point.steps]):
        cost = cost_of(point.cost)
        limits = {each: cost[each].value for each in (*found.limits, *minimised)}
        steps = settings.model_copy(update={"long_steps": point.steps})
        with suppress(BudgetUnreachable):  # Several groups may go lower than one multiplier.
            track = _track(sitting, f"{name}-{point.number}", name, steps, limits=limits)
            final = track.run()
            score = track.bench.score(
                final.state.keep, final.checkpoint.weights, sitting.data.holdout
            )
            reached = final.state.history[-1].cost
            yield CurvePoint(cost=reached, accuracy=score.accuracy, steps=point.steps)


def _spread(points: Sequence[Iteration]) -> list[Iteration]:
    """At most so many of `points`, the last among them."""
    wanted = min(len(points), _CURVE_POINTS)
    return [points[(number + 1) * len(points) // wanted - 1] for number in range(wanted)]


def _track(
    sitting: Sitting,
    name: str,
    method_name: str,
    settings: Settings,
    grown: Callable[[Sitting, State, Checkpoint], None] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Track:
    """The track of a method that goes from the original to `limits`, else those of the budget."""
    method = METHODS[method_name]

    def first(bench: Bench) -> tuple[State, Checkpoint]:
        original = bench.pricer.price({})
        values = original.values_by_resource
        goal = sitting.request.limits.resolve(values) if limits is None else limits
        return method.start(bench, goal, original), Checkpoint(sitting.network.weights)

    told = None if grown is None else partial(grown, sitting)
    return Track(sitting, name, method, settings.settled(method.defaults), first, told)
