"""Which entries of a table are to be measured anew, and in which order.

Pure, but for reading what a table says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from adapt.cost.cold import CACHE_FACT, turns_cold
from adapt.cost.table import table_errors
from adapt.refresh.sentinels import kind_of, timed_error
from adapt.tflite.quantities import weight_bytes
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import Drift, Entry, Fact
from lookup_tables.store import Store

__all__ = [
    "UNSURE_SHARE",
    "Agenda",
    "Cause",
    "Contents",
    "Task",
    "old_energies",
    "old_facts",
    "outdated",
    "plan",
]

# Clocks of hosts differ by minutes. An entry from further ahead would never grow old.
_AHEAD_S = 86_400.0

# Windows that disagree by more met a disturbance; twice as much is accepted.
_UNSURE_ERROR = 0.01

# Some kernels never agree better on their machine: of all entries so many are tried in one night,
# others in the next.
UNSURE_SHARE = 0.02


class Cause(StrEnum):
    """Why a kernel is measured; in the order of urgency."""

    ABSENT = "new platform"
    DRIFTED = "drifted"
    STALE = "stale"
    UNSURE = "low confidence"


_URGENCY = {cause: place for place, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True)
class Task:
    """One kernel to be measured: in a loop if `hot`, with cold weights if `cold`."""

    kernel: Kernel
    cause: Cause
    hot: bool = True
    cold: bool = False


@dataclass(frozen=True)
class Contents:
    """What a table says of one platform, as far as an agenda goes by it; by default nothing."""

    entries: Mapping[Kernel, Entry] = field(default_factory=dict)
    drifts: Sequence[Drift] = ()
    uses: Mapping[Kernel, int] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    quarantined: Collection[Kernel] = ()
    never_cold: Collection[Kernel] = ()

    @classmethod
    def read(cls, store: Store, platform: Platform | None) -> Contents:
        """As it is now; nothing where there is no platform."""
        if platform is None:
            return cls()
        with table_errors():
            return cls(
                entries=store.entries(platform),
                drifts=store.drifts(platform),
                uses=store.uses(platform),
                facts=store.facts(platform),
                quarantined=store.quarantined(platform),
                never_cold=store.never_cold(platform),
            )


@dataclass(frozen=True)
class Agenda:
    """What is to be measured.

    Attributes:
        due: what must be for the table to be fresh, in order.
        doubtful: entries whose windows did not agree well, as many as one night is for, in order.
        quarantined: what would be due, but is not to be asked for any more.
    """

    due: Sequence[Task]
    doubtful: Sequence[Task]
    quarantined: int

    @property
    def tasks(self) -> list[Task]:
        """Everything, the most urgent first."""
        return [*self.due, *self.doubtful]


def plan(own: Contents, before: Contents, now: float, max_age_s: float) -> Agenda:
    """The agenda of a platform with `own` contents, which succeeds one with those of `before`.

    `now` is seconds since 1970. Among what is equally urgent the most used comes first, among that
    the oldest.
    """
    tasks = [*_absent(own, before), *outdated(own.entries, own.drifts, now, max_age_s)]
    due = [task for task in tasks if task.kernel not in own.quarantined]
    other = own.entries.keys() - {task.kernel for task in tasks} - set(own.quarantined)
    doubtful = [
        Task(kernel, Cause.UNSURE)
        for kernel in other
        if timed_error(own.entries[kernel]) > _UNSURE_ERROR
        and own.entries[kernel].measured_at < now
    ]
    uses = Counter(own.uses) + Counter(before.uses)

    def place(task: Task) -> tuple[int, int, float, str]:
        entry = own.entries.get(task.kernel)
        measured_at = 0.0 if entry is None else entry.measured_at
        return _URGENCY[task.cause], -uses[task.kernel], measured_at, task.kernel.key

    limit = max(1, int(UNSURE_SHARE * len(own.entries)))
    return Agenda(
        due=_with_cold_as_needed(sorted(due, key=place), own),
        doubtful=_with_cold_as_needed(sorted(doubtful, key=place)[:limit], own),
        quarantined=len(tasks) - len(due),
    )


def outdated(
    entries: Mapping[Kernel, Entry], drifts: Iterable[Drift], now: float, max_age_s: float
) -> list[Task]:
    """Entries with times from before a drift of their kind, or older than `max_age_s` at `now`."""
    since = _drifted_since(drifts)
    tasks = []
    for kernel, entry in entries.items():
        drifted = since(kernel)
        oldest = max(drifted, now - max_age_s)
        times = [entry.measured_at] if entry.cold_at is None else [entry.measured_at, entry.cold_at]
        late = [not oldest <= at <= now + _AHEAD_S for at in times]
        if any(late):
            cause = Cause.DRIFTED if min(times) < drifted else Cause.STALE
            tasks.append(Task(kernel, cause, hot=late[0], cold=late[-1] and len(late) > 1))
    return tasks


def _drifted_since(drifts: Iterable[Drift]) -> Callable[[Kernel], float]:
    """When the newest drift of a kernel's kind, or of all kernels, began; -inf without one."""
    newest: dict[tuple[str, str], float] = {}
    for drift in drifts:
        kind = (drift.op, drift.dtype)
        newest[kind] = max(drift.since, newest.get(kind, drift.since))
    of_all = newest.get(("", ""), float("-inf"))
    return lambda kernel: max(of_all, newest.get(kind_of(kernel), of_all))


def old_energies(
    own: Contents, before: Contents, now: float, max_age_s: float
) -> dict[Kernel, str]:
    """Kernels whose energy is out of date as a time would be, or that only `before` has.

    Each with the meter that told it; the most used first, among those the oldest.
    """
    since = _drifted_since(own.drifts)
    entries = {
        kernel: entry
        for kernel, entry in own.entries.items()
        if entry.energy_at is not None
        and not max(since(kernel), now - max_age_s) <= entry.energy_at <= now + _AHEAD_S
    }
    for kernel, entry in before.entries.items():
        here = own.entries.get(kernel)
        wanted = kernel in before.uses or not before.uses
        if wanted and entry.energy_at is not None and (here is None or here.energy_at is None):
            entries[kernel] = entry
    uses = Counter(own.uses) + Counter(before.uses)
    order = sorted(entries, key=lambda k: (-uses[k], entries[k].energy_at, k.key))
    return {k: entries[k].energy_meter for k in order if k not in own.quarantined}


def old_facts(own: Contents, before: Contents, now: float, max_age_s: float) -> list[str]:
    """Names of facts that are older than `max_age_s` at `now`, or that only `before` has."""
    return [
        name
        for name in {**before.facts, **own.facts}
        if name not in own.facts or own.facts[name].learnt_at < now - max_age_s
    ]


def _absent(own: Contents, before: Contents) -> list[Task]:
    """What is lacking of the predecessor's kernels: of those in use, or of all where none is."""
    tasks = []
    for kernel, old in before.entries.items():
        if before.uses and kernel not in before.uses:
            continue
        entry = own.entries.get(kernel)
        cold = old.cold_us is not None and (entry is None or entry.cold_us is None)
        # A cold time stands beside a hot one of the same device, not beside an import.
        hot = entry is None or (cold and bool(entry.source))
        if hot or cold:
            tasks.append(Task(kernel, Cause.ABSENT, hot, cold))
    return tasks


def _with_cold_as_needed(tasks: Iterable[Task], own: Contents) -> list[Task]:
    """`tasks` without the cold times that cannot be had, or that the cache is too large for."""
    cache = own.facts.get(CACHE_FACT)
    kept = []
    for task in tasks:
        cold = task.cold and cache is not None and task.kernel not in own.never_cold
        if cold and cache is not None:
            cold = turns_cold(weight_bytes(task.kernel), cache.value)
        if task.hot or cold:
            kept.append(replace(task, cold=cold))
    return kept
