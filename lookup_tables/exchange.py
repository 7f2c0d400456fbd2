"""Entries on their way from one table to another, with provenance.

One row an entry. An empty source is the table that was exported; whoever imports the rows gives it
a name. An import is kept beside the table's own measurements and answers only where there is none
of them. `row_files` has the rows as CSV and Parquet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from operator import attrgetter

from lookup_tables import rows
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.store import Store

__all__ = ["COLUMNS", "ExchangeError", "Imported", "Row", "export_rows", "merge"]

# CSV keeps microseconds of a date, SQLite a double.
_SAME_MOMENT_S = 1e-5

_EXCHANGE = """
    SELECT platform.text, kernel.text, entry.latency_us, entry.relative_error,
           measurement.null_us, batch.host_time, '', entry.cold_us, cold_measurement.relative_error,
           entry.energy_uj, energy_measurement.relative_error, ifnull(energy_measurement.meter, '')
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN measurement ON measurement.id = entry.measurement_id
    JOIN batch ON batch.id = measurement.batch_id
    LEFT JOIN cold_measurement ON cold_measurement.id = entry.cold_measurement_id
    LEFT JOIN energy_measurement ON energy_measurement.id = entry.energy_measurement_id
    WHERE :platform IS NULL OR platform.key = :platform
    UNION ALL
    SELECT platform.text, kernel.text, imported.latency_us, imported.relative_error,
           imported.null_us, imported.measured_at, imported.source,
           imported.cold_us, imported.cold_error,
           imported.energy_uj, imported.energy_error, ifnull(imported.energy_meter, '')
    FROM imported
    JOIN platform ON platform.id = imported.platform_id
    JOIN kernel ON kernel.id = imported.kernel_id
    WHERE :platform IS NULL OR platform.key = :platform
"""

# A row that was measured here, exported and comes back is no news either.
_INSERT_IMPORTED = """
    INSERT INTO imported (platform_id, kernel_id, source, latency_us, relative_error, null_us,
                          measured_at, imported_at, cold_us, cold_error, energy_uj, energy_error,
                          energy_meter)
    SELECT platform.id, :kernel, :source, :latency_us, :relative_error, :null_us, :measured_at,
           :imported_at, :cold_us, :cold_error, :energy_uj, :energy_error,
           nullif(:energy_meter, '')
    FROM platform
    WHERE platform.key = :platform AND NOT EXISTS (
        SELECT 1 FROM entry
        JOIN measurement ON measurement.id = entry.measurement_id
        JOIN batch ON batch.id = measurement.batch_id
        WHERE entry.platform_id = platform.id AND entry.kernel_id = :kernel
          AND entry.latency_us = :latency_us AND abs(batch.host_time - :measured_at) < :same
    )
    ON CONFLICT DO NOTHING
"""

_HAS_ENTRY = """
    SELECT 1 FROM entry JOIN platform ON platform.id = entry.platform_id
    WHERE platform.key = :platform AND entry.kernel_id = :kernel
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry on its way; the fields are the columns.

    Attributes:
        latency_us: time of the kernel itself, microseconds, the null op subtracted.
        relative_error: its stated error as a share of `latency_us`.
        null_us: the null time that was subtracted, microseconds.
        measured_at: of `latency_us`, seconds since 1970.
        source: who measured it; empty for the table that was exported.
        cold_us, cold_error: its time with cold weights, microseconds, and the stated error of that;
            None where it was not measured.
        energy_uj, energy_error, energy_meter: its energy, microjoules, the stated error of that and
            which meter told it; None, None and empty where it was not measured.
    """

    platform: Platform
    kernel: Kernel
    latency_us: float
    relative_error: float
    null_us: float
    measured_at: float
    source: str
    cold_us: float | None = None
    cold_error: float | None = None
    energy_uj: float | None = None
    energy_error: float | None = None
    energy_meter: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: rows added, rows that the table knew already, and, among those added,
    rows for kernels that the table has an entry of its own for."""

    added: int
    known: int
    beside_own: int


class ExchangeError(ValueError):
    """A file that is not one of ours; the message says in which line or row, and column."""


COLUMNS = tuple(field.name for field in fields(Row))


def export_rows(store: Store, platform: Platform | None = None) -> list[Row]:
    """Entries and imports of `platform`, or of all, the table's own first, then by kernel."""
    found: list[Row] = []
    with store.connection.read() as database:
        for text, kernel, *values in database.execute(
            _EXCHANGE, {"platform": platform and platform.key}
        ):
            found.append(Row(Platform.parse(text), Kernel.parse(kernel), *values))
    return sorted(found, key=attrgetter("platform.text", "source", "kernel.text", "measured_at"))


def merge(store: Store, found: Iterable[Row], now: float) -> Imported:
    """Add rows that have a source, all or none; those that the table has already are left out.

    `now` is seconds since 1970. What was measured here stays the entry; an import of the same
    kernel stands beside it.
    """
    added = known = beside_own = 0
    with store.connection.write() as database:
        for row in found:
            rows.insert_platform(database, row.platform)
            values = {
                "platform": row.platform.key,
                "kernel": rows.kernel_id_of(database, row.kernel),
                "source": row.source,
                "latency_us": row.latency_us,
                "relative_error": row.relative_error,
                "null_us": row.null_us,
                "measured_at": row.measured_at,
                "imported_at": now,
                "cold_us": row.cold_us,
                "cold_error": row.cold_error,
                "energy_uj": row.energy_uj,
                "energy_error": row.energy_error,
                "energy_meter": row.energy_meter,
                "same": _SAME_MOMENT_S,
            }
            if database.execute(_INSERT_IMPORTED, values).rowcount:
                added += 1
                has_own = database.execute(_HAS_ENTRY, values).fetchone() is not None
                beside_own += has_own
            else:
                known += 1
    return Imported(added, known, beside_own)
