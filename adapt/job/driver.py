"""Carries a job out: steps of the method, measurements in between, and the results at the end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from adapt.budget import Budget
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
from adapt.job.comparison import Final, compare
from adapt.job.files import DiskError, disk_errors, write_model
from adapt.job.folder import JobFolder
from adapt.job.journal import Step
from adapt.job.listener import Listener
from adapt.job.request import JobRequest
from adapt.job.result import JobResult
from adapt.job.sitting import Sitting
from adapt.job.yardstick import open_yardstick
from adapt.locks import locked
from adapt.methods import METHODS
from adapt.methods.base import Bench, Method, Phase, Settings, State
from adapt.network.load import file_digest
from adapt.training.finetune import Checkpoint, pin_threads

__all__ = ["execute", "resume_command"]


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
        yardstick = stack.enter_context(
            open_yardstick(folder, home=home, tables=tables, listener=listener, ledger=ledger)
        )
        sitting = Sitting.open(folder, yardstick, listener, ledger)
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
    request, ledger = sitting.request, sitting.ledger
    adapted = _drive(sitting, "", METHODS[request.method], request.settings)
    limits = adapted.state.limits
    finals = {"adapted": adapted}
    for name in request.compare:
        # As many steps as the adapted network had, short and long together.
        settings = request.settings.model_copy(update={"long_steps": adapted.state.steps_trained})
        finals[name] = _drive(sitting, name, METHODS[name], settings, limits)
    with ledger.timed("results"):
        networks = compare(sitting, finals)
    kept_whole = sitting.network.groups.kept_whole
    data = sitting.data
    account = ledger.account
    result = JobResult(
        platform=sitting.yardstick.platform,
        told_by=dict(sitting.yardstick.told_by),
        limits=limits,
        networks=networks,
        history=adapted.state.history,
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


def _drive(
    sitting: Sitting,
    track: str,
    method: Method,
    settings: Settings,
    limits: Mapping[str, float] | None = None,
) -> Final:
    """One method from its last journalled step to its end; `limits` are those of the budget."""
    bench = _bench(sitting, settings.settled(method.defaults))
    journal = sitting.folder.journal(track)
    last = journal.last()
    if last is None:
        original = sitting.priced(partial(bench.pricer.price, {}))
        if limits is None:
            budget = Budget.parse(sitting.request.budget)
            limits = budget.resolve(original.values_by_resource)
        state = sitting.priced(partial(method.start, bench, limits, original))
        checkpoint = Checkpoint(sitting.network.weights)
        number = 0
        journal.append(Step(number, state, checkpoint, sitting.ledger.account))
    else:
        number, state, checkpoint = last.number, last.state, last.checkpoint
        sitting.ledger.resume(last.account)
    sitting.listener.advanced(track, state)
    while state.phase is not Phase.DONE:
        previous = state
        with sitting.ledger.timed(f"{track} {state.phase}".strip()):
            state, checkpoint = sitting.priced(partial(method.step, bench, state, checkpoint))
        number += 1
        if not track and len(state.history) > len(previous.history):
            _save_family(sitting, state, checkpoint)
        journal.append(Step(number, state, checkpoint, sitting.ledger.account))
        sitting.listener.advanced(track, state)
    return Final(state, checkpoint)


def _bench(sitting: Sitting, settings: Settings) -> Bench:
    return Bench(
        network=sitting.network,
        data=sitting.data,
        trainer=sitting.trainer,
        executor=sitting.executor,
        importance=sitting.importance,
        activations=sitting.activations,
        pricer=sitting.pricer,
        settings=settings,
        seed=sitting.request.seed,
        notify=sitting.listener.notify,
    )


def _save_family(sitting: Sitting, state: State, checkpoint: Checkpoint) -> None:
    """The network of the last iteration, beside those before it."""
    point = state.history[-1]
    path = sitting.folder.path / "family" / f"iteration-{point.number:02d}.keras"
    path.parent.mkdir(exist_ok=True)
    write_model(path, sitting.network.shrunk(point.keep, checkpoint.weights))
