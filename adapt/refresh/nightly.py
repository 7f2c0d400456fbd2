"""Keeps the tables of a device fresh, with nobody about.

A few sentinels of each platform tell whether its entries still hold. Where they do, only what has
grown old or was measured badly is measured anew; where they do not, all that has drifted. What was
done is in the table after every batch: killed at any moment, the next night goes on from there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapt.cost.table import table_errors
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.agenda import Cause, Contents, old_energies, old_facts, plan
from adapt.refresh.drift import Shift
from adapt.refresh.examination import Examination
from adapt.refresh.lineage import Present, Unreachable, find_present
from adapt.refresh.repair import Deadline, Metering, Timer, carry_out, learn_again, meter_again
from adapt.refresh.sentinels import Kind
from adapt.refresh.session import OnProgress, Session
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Rejected
from lookup_tables.records import Drift
from lookup_tables.store import Store
from lookup_tables.survey import summaries

__all__ = ["CONFIRMATION_PAUSE_S", "Night", "PlatformNight", "refresh_tables"]

# A neighbour's burst of work has often passed by then.
CONFIRMATION_PAUSE_S = 20.0


@dataclass(frozen=True)
class PlatformNight:
    """What became of one platform's table.

    Attributes:
        platform: which one.
        predecessor: the platform before the device's last update, whose kernels it takes over.
        entries: that the table has now.
        shift: what the sentinels said last of all kernels; None where there was nothing to compare.
        drifts: what two rounds confirmed, the largest first.
        passing: what only the first of two rounds showed, and of which kind; None for all.
        undecided: whether the sentinels could not be timed, or not a second time.
        sentinels: kernels that were timed as sentinels.
        measured: kernels of the agenda that were measured, by cause.
        measured_anew: all of these, each counted once.
        failed: kernels that could not be, with the last reason.
        unlearnt: facts that are old and could not be learnt anew.
        left: entries that are still outdated, those not tried for lack of time included.
        quarantined: outdated entries of kernels that are not to be asked for any more.
        metering: what became of energies that were out of date.
    """

    platform: Platform
    predecessor: Platform | None
    entries: int
    shift: Shift | None
    drifts: tuple[Drift, ...]
    passing: tuple[Kind | None, Shift] | None
    undecided: bool
    sentinels: int
    measured: Mapping[Cause, int]
    measured_anew: int
    failed: Mapping[Kernel, Rejected]
    unlearnt: tuple[str, ...]
    left: int
    quarantined: int
    metering: Metering

    @property
    def fresh(self) -> bool:
        """Whether every entry can be relied on that can be measured at all."""
        return not (self.left or self.undecided or self.unlearnt or self.metering.left)


@dataclass(frozen=True)
class Night:
    """What became of all tables of a device; `seconds` that it took."""

    device: str
    platforms: tuple[PlatformNight, ...]
    unreachable: tuple[Unreachable, ...]
    seconds: float

    @property
    def fresh(self) -> bool:
        """Whether all of them are."""
        return all(platform.fresh for platform in self.platforms)


def refresh_tables(
    store: Store,
    device: Device,
    *,
    max_age_s: float,
    time_limit_s: float,
    clock: Callable[[], float] = time.time,
    timer: Timer = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    on_progress: OnProgress | None = None,
) -> Night:
    """Refresh every platform of the table that `device` is today.

    Entries older than `max_age_s` are stale; after `time_limit_s` no other batch is begun. `clock`
    gives seconds since 1970 and is that of the store. Raises DeviceError or Busy where the device
    fails as a whole, TableError where the table does; the batches recorded until then stay.
    """
    deadline = Deadline(time_limit_s, timer)
    with table_errors():
        known = summaries(store)
    present, unreachable = find_present(known, device.describe())
    now = clock()
    wards = [_Ward.open(store, device, each, now, max_age_s) for each in present]
    for ward in wards:
        ward.examination.first_round()
    suspicious = [ward for ward in wards if ward.examination.suspicious]
    if suspicious and deadline.left_s > CONFIRMATION_PAUSE_S:
        sleep(CONFIRMATION_PAUSE_S)
        for ward in suspicious:
            ward.examination.second_round()
    nights = tuple(ward.repaired(deadline, on_progress) for ward in wards)
    return Night(device.name, nights, tuple(unreachable), deadline.elapsed_s)


@dataclass(frozen=True)
class _Ward:
    """One platform under care, as of `now`, seconds since 1970."""

    session: Session
    present: Present
    examination: Examination
    now: float
    max_age_s: float

    @classmethod
    def open(
        cls, store: Store, device: Device, present: Present, now: float, max_age_s: float
    ) -> _Ward:
        platform = present.platform
        options = MeasureOptions(platform.backend, platform.threads, platform.core_mask)
        session = Session.open(store, device, options)
        contents = Contents.read(store, platform)
        examination = Examination(session, contents, now, max_age_s)
        return cls(session, present, examination, now, max_age_s)

    def repaired(self, deadline: Deadline, on_progress: OnProgress | None) -> PlatformNight:
        """Measure what is due, as long as there is time."""
        session, examination = self.session, self.examination
        platform, predecessor = self.present.platform, self.present.predecessor
        before = Contents.read(session.store, predecessor)
        facts = old_facts(self._contents(), before, self.now, self.max_age_s)
        unlearnt = learn_again(session, facts, deadline)
        contents = self._contents()
        agenda = plan(contents, before, self.now, self.max_age_s)
        energies = old_energies(contents, before, self.now, self.max_age_s)
        repair = carry_out(session, agenda.tasks, deadline, on_progress)
        # Last, since one takes as long as hundreds of times.
        metering = meter_again(session, energies, deadline)
        return PlatformNight(
            platform=platform,
            predecessor=predecessor,
            entries=len(self._contents().entries),
            shift=examination.round.whole if examination.round else None,
            drifts=tuple(examination.drifts),
            passing=examination.passing,
            undecided=examination.undecided,
            sentinels=len(examination.timed),
            measured=Counter(task.cause for task in repair.done),
            measured_anew=len(examination.timed | {task.kernel for task in repair.done}),
            failed=repair.failed,
            unlearnt=tuple(unlearnt),
            left=len(set(agenda.due) - set(repair.done)),
            quarantined=agenda.quarantined,
            metering=metering,
        )

    def _contents(self) -> Contents:
        return Contents.read(self.session.store, self.present.platform)
