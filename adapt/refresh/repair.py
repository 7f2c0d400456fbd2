"""Measures the kernels of an agenda, the most urgent first, until they are done or time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from adapt.cost.base import Missing
from adapt.cost.cold import CACHE_FACT, L3_PS_FACT, MEMORY_FACTS
from adapt.errors import DeviceError
from adapt.refresh.agenda import Task
from adapt.refresh.energy import BATCH_KERNELS, MeterError, metering_s, no_meter
from adapt.refresh.missing import measure_missing
from adapt.refresh.queue import MAX_BATCH_KERNELS
from adapt.refresh.session import OnProgress, Session
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Rejected

__all__ = ["Deadline", "Metering", "Repair", "Timer", "carry_out", "learn_again", "meter_again"]

# Gives seconds since any moment.
Timer = Callable[[], float]

# Facts that one sweep gives. Others are those of a runtime's build, which a platform never changes,
# or stand in every batch.
_LEARNT_TOGETHER = ((CACHE_FACT, L3_PS_FACT), MEMORY_FACTS)


class Deadline:
    """`seconds` from now."""

    def __init__(self, seconds: float, timer: Timer = time.monotonic) -> None:
        self._timer = timer
        self._start = timer()
        self._seconds = seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._timer() - self._start

    @property
    def left_s(self) -> float:
        """Seconds until the end; negative after it."""
        return self._seconds - self.elapsed_s


@dataclass
class Repair:
    """What became of an agenda.

    Attributes:
        done: tasks whose kernel was measured in every way that was asked for.
        failed: kernels that could not be, each with the last reason.
    """

    done: list[Task] = field(default_factory=list)
    failed: dict[Kernel, Rejected] = field(default_factory=dict)


@dataclass
class Metering:
    """What became of energies that were out of date.

    Attributes:
        measured: run under the meter anew.
        left: not, for lack of time or because the meter told nothing steady.
        alone: left as they are, since the device has no meter that tells them; `why` says more.
    """

    measured: int = 0
    left: int = 0
    alone: int = 0
    why: str = ""


def carry_out(
    session: Session,
    tasks: Sequence[Task],
    deadline: Deadline,
    on_progress: OnProgress | None = None,
) -> Repair:
    """Measure `tasks` in order, batch by batch; none begins that would probably end too late.

    Errors are those of `measure_kernels`.
    """
    repair = Repair()
    longest = 0.0
    for start in range(0, len(tasks), MAX_BATCH_KERNELS):
        begun = deadline.left_s
        if begun <= longest:
            break
        some = tasks[start : start + MAX_BATCH_KERNELS]
        lack = Missing(
            (task.kernel for task in some if task.hot),
            cold=(task.kernel for task in some if task.cold),
        )
        failed = measure_missing(
            session.store, session.device, lack, options=session.options
        ).failed
        repair.failed |= failed
        repair.done += [task for task in some if task.kernel not in failed]
        longest = max(longest, begun - deadline.left_s)
        if on_progress is not None:
            on_progress(start + len(some), len(tasks))
    return repair


def learn_again(session: Session, names: Collection[str], deadline: Deadline) -> list[str]:
    """Learn facts of the platform anew; those that were not, for lack of time or of quiet.

    They keep what was learnt before. A name that no learner knows is left alone.
    """
    unlearnt: list[str] = []
    for together in _LEARNT_TOGETHER:
        wanted = [name for name in together if name in names]
        if not wanted:
            continue
        if deadline.left_s <= 0:
            unlearnt += wanted
            continue
        lack = Missing(facts=wanted)
        try:
            measure_missing(session.store, session.device, lack, options=session.options)
        except DeviceError:
            unlearnt += wanted
    return unlearnt


def meter_again(session: Session, energies: Mapping[Kernel, str], deadline: Deadline) -> Metering:
    """Run the kernels of `energies` under the meter anew, in order, as long as there is time.

    Those that were told by another meter than the device measures by are left alone. Errors are
    those of `measure_kernels`.
    """
    metering = Metering()
    meter = next((each.name for each in session.description.identity.meters), None)
    wanted = [kernel for kernel, told_by in energies.items() if told_by == meter]
    if len(wanted) < len(energies):
        name = session.device.name
        other = f"{name} measures by {meter}, which did not tell them"
        why = no_meter(name).what if meter is None else other
        metering = Metering(alone=len(energies) - len(wanted), why=why)
    for start in range(0, len(wanted), BATCH_KERNELS):
        some = wanted[start : start + BATCH_KERNELS]
        if deadline.left_s <= metering_s(len(some)):
            metering.left += len(wanted) - start
            break
        lack = Missing(energy=some)
        try:
            done = measure_missing(session.store, session.device, lack, options=session.options)
        except MeterError as error:
            metering.alone += len(wanted) - start
            metering.why = error.what
            break
        failed = done.failed.keys() | done.unmetered.keys()
        metering.measured += len(some) - len(failed)
        metering.left += len(failed)
    return metering
