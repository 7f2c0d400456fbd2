"""Looking into a table: what it knows of each platform, how the times of kernels went over the
months, and how one kernel's goes with the number of channels."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lookup_tables.exchange import Row, export_rows
from lookup_tables.families import member
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Accepted, kernel_error, kernel_time
from lookup_tables.records import Entry, Fact, TableCounts
from lookup_tables.store import Store

__all__ = [
    "Fate",
    "Observation",
    "Repeat",
    "Step",
    "Summary",
    "find_kernels",
    "history",
    "repeats",
    "steps",
    "summaries",
]

_HISTORY = """
    SELECT batch.host_time, 'accepted', 0, measurement.latency_us, measurement.relative_error,
           measurement.null_us, measurement.null_error, '', measurement.id, batch.id,
           entry.measurement_id IS NOT NULL
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN measurement ON measurement.batch_id = batch.id
    JOIN kernel ON kernel.id = measurement.kernel_id
    LEFT JOIN entry ON entry.measurement_id = measurement.id
    WHERE platform.key = :platform AND kernel.key = :kernel
    UNION ALL
    SELECT batch.host_time, 'accepted', 1, cold.latency_us, cold.relative_error, NULL, NULL, '',
           cold.id, batch.id, entry.cold_measurement_id IS NOT NULL
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN cold_measurement AS cold ON cold.batch_id = batch.id
    JOIN kernel ON kernel.id = cold.kernel_id
    LEFT JOIN entry ON entry.cold_measurement_id = cold.id
    WHERE platform.key = :platform AND kernel.key = :kernel
    UNION ALL
    SELECT batch.host_time, 'rejected', rejection.detail LIKE 'cold: %', NULL, NULL, NULL, NULL,
           rejection.reason || ': ' || rejection.detail, rejection.id, batch.id, 0
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN rejection ON rejection.batch_id = batch.id
    JOIN kernel ON kernel.id = rejection.kernel_id
    WHERE platform.key = :platform AND kernel.key = :kernel
    UNION ALL
    SELECT imported.measured_at, 'imported', 0, imported.latency_us, imported.relative_error,
           imported.null_us, 0.0, imported.source, imported.id, 0, 0
    FROM platform
    JOIN imported ON imported.platform_id = platform.id
    JOIN kernel ON kernel.id = imported.kernel_id
    WHERE platform.key = :platform AND kernel.key = :kernel
    UNION ALL
    SELECT imported.measured_at, 'imported', 1, imported.cold_us, imported.cold_error,
           NULL, NULL, imported.source, imported.id, 0, 0
    FROM platform
    JOIN imported ON imported.platform_id = platform.id
    JOIN kernel ON kernel.id = imported.kernel_id
    WHERE platform.key = :platform AND kernel.key = :kernel AND imported.cold_us IS NOT NULL
    ORDER BY 1, 3, 9
"""

_SPAN = """
    SELECT min(moment), max(moment)
    FROM (SELECT platform_id, host_time AS moment FROM batch
          UNION ALL SELECT platform_id, measured_at FROM imported) AS dated
    JOIN platform ON platform.id = dated.platform_id WHERE platform.key = :platform
"""

_REPEATS = """
    SELECT before_at, before_us, before_null_us, at, latency_us, null_us FROM (
        SELECT batch.host_time AS at, measurement.latency_us, measurement.null_us, measurement.id,
               lag(batch.host_time) OVER earlier AS before_at,
               lag(measurement.latency_us) OVER earlier AS before_us,
               lag(measurement.null_us) OVER earlier AS before_null_us
        FROM platform
        JOIN batch ON batch.platform_id = platform.id
        JOIN measurement ON measurement.batch_id = batch.id
        WHERE platform.key = :platform
        WINDOW earlier AS (PARTITION BY measurement.kernel_id ORDER BY measurement.id)
    ) WHERE before_us IS NOT NULL ORDER BY id DESC LIMIT :limit
"""

# A key is hexadecimal, so every key that begins with one lies before the one followed by "g".
_KERNELS_OF_PREFIX = """
    SELECT text FROM kernel WHERE key >= :prefix AND key < :prefix || 'g' ORDER BY key LIMIT :limit
"""


class Fate(StrEnum):
    """What became of a measurement."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Summary:
    """One platform's table.

    Attributes:
        oldest, newest: dates of its measurements and imports, seconds since 1970; None without.
        median_error: median of the relative errors that its entries state; None without entries.
        cold: entries that have a time with cold weights too.
        facts: what was learnt of the platform, by name.
    """

    platform: Platform
    counts: TableCounts
    oldest: float | None
    newest: float | None
    median_error: float | None
    cold: int
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Observation:
    """One measurement of one kernel.

    Attributes:
        at: when it was measured, seconds since 1970.
        cold: whether its weights were out of the cache.
        latency_us: time of the kernel itself, microseconds; None where it was rejected.
        relative_error: its stated error; None likewise.
        null_us: the null time that was subtracted, microseconds; None likewise, and for a cold one.
        detail: why it was rejected, or where it was imported from.
        answers: whether it is what the table answers for the kernel.
    """

    at: float
    fate: Fate
    cold: bool
    latency_us: float | None
    relative_error: float | None
    null_us: float | None
    detail: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A kernel of a staircase: its channels, what was measured, and whether that answers for it."""

    channels: int
    row: Row
    answers: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """Two accepted measurements of one kernel in a row.

    Attributes:
        before_at, at: when they were made, seconds since 1970.
        before_us, latency_us: time of the kernel itself, microseconds.
    """

    before_at: float
    before_us: float
    at: float
    latency_us: float


def summaries(store: Store) -> list[Summary]:
    """Every platform that the file knows, in the order they came."""
    result = []
    for platform in store.platforms():
        with store.connection.read() as database:
            oldest, newest = database.execute(_SPAN, {"platform": platform.key}).fetchone()
        entries = store.entries(platform).values()
        errors = [entry.relative_error for entry in entries]
        result.append(
            Summary(
                platform,
                store.counts(platform),
                oldest,
                newest,
                statistics.median(errors) if errors else None,
                sum(entry.cold_us is not None for entry in entries),
                store.facts(platform),
            )
        )
    return result


def history(store: Store, platform: Platform, kernel: Kernel) -> list[Observation]:
    """Every measurement of `kernel` on `platform`, accepted or not, and its imports; oldest first.

    At most one of the hot ones is the answer, and at most one of the cold ones.
    """
    answer = store.entries(platform, [kernel]).get(kernel)
    result = []
    with store.connection.read() as database:
        found = database.execute(_HISTORY, {"platform": platform.key, "kernel": kernel.key})
        for at, fate, cold, latency, error, null, null_error, detail, *_, is_entry in found:
            if fate == Fate.ACCEPTED and not cold:
                measured = Accepted(latency, error, 0)
                error = kernel_error(measured, null, null_error)
                latency = kernel_time(latency, null)
            answers = bool(is_entry)
            if fate == Fate.IMPORTED and answer is not None:
                time = answer.cold_us if cold else answer.latency_us
                answers = (answer.source, answer.measured_at, time) == (detail, at, latency)
            result.append(
                Observation(at, Fate(fate), bool(cold), latency, error, null, detail, answers)
            )
    return result


def steps(store: Store, platform: Platform, kernel: Kernel, axis: int) -> list[Step]:
    """What the table has of the kernels that are `kernel` but for their channels on one axis.

    `axis` counts the axes of the kernel's family. By channels, what answers first; no step where
    the kernel has no family.
    """
    chosen = member(kernel)
    if chosen is None:
        return []
    found: list[tuple[int, Row]] = []
    for row in export_rows(store, platform):
        # The family of a kernel of another operator need not be worked out.
        other = member(row.kernel) if row.kernel.op == kernel.op else None
        if other is None or other.family != chosen.family:
            continue
        if _without(other.channels, axis) == _without(chosen.channels, axis):
            found.append((other.channels[axis], row))
    entries = store.entries(platform, (row.kernel for _, row in found))
    result = [Step(channels, row, _is(row, entries[row.kernel])) for channels, row in found]
    return sorted(result, key=lambda step: (step.channels, not step.answers))


def _is(row: Row, entry: Entry) -> bool:
    """Whether `row` is what the table answers for its kernel."""
    chosen = (entry.source, entry.measured_at, entry.latency_us)
    return chosen == (row.source, row.measured_at, row.latency_us)


def _without(channels: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return channels[:axis] + channels[axis + 1 :]


def repeats(store: Store, platform: Platform, limit: int) -> list[Repeat]:
    """What was measured more than once on `platform`: the latest pairs, newest first."""
    with store.connection.read() as database:
        found = database.execute(_REPEATS, {"platform": platform.key, "limit": limit})
        return [
            Repeat(before_at, kernel_time(before, before_null), at, kernel_time(latency, null))
            for before_at, before, before_null, at, latency, null in found
        ]


def find_kernels(store: Store, key: str, limit: int) -> list[Kernel]:
    """Kernels, up to `limit`, whose key begins with `key`, which is lower-case hexadecimal."""
    with store.connection.read() as database:
        found = database.execute(_KERNELS_OF_PREFIX, {"prefix": key, "limit": limit})
        return [Kernel.parse(text) for (text,) in found]
