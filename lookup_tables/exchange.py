"""Tables as CSV, with provenance: from one file to another, and to whatever else reads CSV.

One row an entry: `platform` and `kernel` in canonical text, times in microseconds, the date in ISO
8601, and `source`, who measured it. An empty source is the table that was exported; whoever imports
the file gives it a name. An import is kept beside the table's own measurements and answers only
where there is none of them.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import IO

from lookup_tables import rows
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.store import Store

__all__ = ["COLUMNS", "ExchangeError", "Imported", "Row", "export_rows", "merge", "read", "write"]

# The schema's own bound: a larger figure is a wrong unit.
_MAX_US = 1e9

# Clocks of two machines may differ; a date further ahead would stay the newest for ever.
_MAX_AHEAD_S = 86_400.0

# CSV keeps microseconds of a date, SQLite a double.
_SAME_MOMENT_S = 1e-5

# A source is shown in terminals and opened in spreadsheets: no control characters, no formulas.
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.@:/-]{0,99}", re.ASCII)

_SHOWN_CHARACTERS = 80

_EXCHANGE = """
    SELECT platform.text, kernel.text, entry.latency_us, entry.relative_error,
           measurement.null_us, batch.host_time, ''
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN measurement ON measurement.id = entry.measurement_id
    JOIN batch ON batch.id = measurement.batch_id
    WHERE :platform IS NULL OR platform.key = :platform
    UNION ALL
    SELECT platform.text, kernel.text, imported.latency_us, imported.relative_error,
           imported.null_us, imported.measured_at, imported.source
    FROM imported
    JOIN platform ON platform.id = imported.platform_id
    JOIN kernel ON kernel.id = imported.kernel_id
    WHERE :platform IS NULL OR platform.key = :platform
"""

# A row that was measured here, exported and comes back is no news either.
_INSERT_IMPORTED = """
    INSERT INTO imported (platform_id, kernel_id, source, latency_us, relative_error, null_us,
                          measured_at, imported_at)
    SELECT platform.id, :kernel, :source, :latency_us, :relative_error, :null_us, :measured_at,
           :imported_at
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
        latency_us: time of the kernel itself, the null op subtracted.
        relative_error: its stated error as a share of `latency_us`.
        null_us: the null time that was subtracted.
        measured_at: seconds since 1970.
        source: who measured it; empty for the table that was exported.
    """

    platform: Platform
    kernel: Kernel
    latency_us: float
    relative_error: float
    null_us: float
    measured_at: float
    source: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: rows added, rows that the table knew already, and, among those added,
    rows for kernels that the table has an entry of its own for."""

    added: int
    known: int
    beside_own: int


class ExchangeError(ValueError):
    """A CSV file that is not one of ours; the message says in which line and column."""


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


def write(found: Iterable[Row], file: IO[str]) -> int:
    """Write CSV to `file`, opened with newline=""; the number of rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in found:
        count += 1
        moment = datetime.fromtimestamp(row.measured_at, UTC)
        writer.writerow(
            [
                row.platform.text,
                row.kernel.text,
                *map(repr, (row.latency_us, row.relative_error, row.null_us)),
                moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                row.source,
            ]
        )
    return count


def read(file: IO[str], *, source: str, now: float) -> list[Row]:
    """Every row of a CSV file opened with newline=""; an empty source becomes `source`.

    `now` is seconds since 1970. Raises ExchangeError, with line and column, where anything is not
    as `write` writes it.
    """
    if not _SOURCE.fullmatch(source):
        raise ExchangeError(f"not a name of a source: {source[:_SHOWN_CHARACTERS]!r}")
    parser = _Parser(source, now)
    lines = csv.reader(file, strict=True)
    try:
        header = next(lines, [])
        if tuple(header) != COLUMNS:
            raise ExchangeError(f"line 1: the columns are not {','.join(COLUMNS)}")
        return list(_rows(lines, parser))
    except csv.Error as error:
        raise ExchangeError(f"line {lines.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise ExchangeError(f"after line {lines.line_num}: not UTF-8 text") from error


def _rows(lines: Iterator[list[str]], parser: _Parser) -> Iterator[Row]:
    for values in lines:
        number = getattr(lines, "line_num", 0)
        if not values:
            continue
        if len(values) != len(COLUMNS):
            raise ExchangeError(f"line {number}: {len(values)} fields, {len(COLUMNS)} are due")
        yield parser.row(number, values)


class _Parser:
    """Turns the fields of a line into a Row, checking each."""

    def __init__(self, source: str, now: float) -> None:
        self._source = source
        self._now = now
        self._platforms: dict[str, Platform] = {}
        self._columns: dict[str, Callable[[str], object]] = {
            "platform": self._platform,
            "kernel": Kernel.parse,
            "latency_us": _positive,
            "relative_error": _share,
            "null_us": _positive,
            "measured_at": self._moment,
            "source": self._name,
        }

    def row(self, number: int, values: Sequence[str]) -> Row:
        parsed: dict[str, object] = {}
        for (name, parse), value in zip(self._columns.items(), values, strict=True):
            try:
                parsed[name] = parse(value)
            except ValueError as error:
                raise ExchangeError(f"line {number}, column {name}: {error}") from error
        return Row(**parsed)  # type: ignore[arg-type]

    def _platform(self, text: str) -> Platform:
        platform = self._platforms.get(text)
        if platform is None:
            platform = Platform.parse(text)
            if not str(platform).isprintable():
                raise ValueError("control characters in a platform")
            self._platforms[text] = platform
        return platform

    def _moment(self, text: str) -> float:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"no time zone in {text[:_SHOWN_CHARACTERS]!r}")
        seconds = moment.timestamp()
        if not 0 <= seconds <= self._now + _MAX_AHEAD_S:
            raise ValueError(f"{text[:_SHOWN_CHARACTERS]!r} is before 1970 or in the future")
        return seconds

    def _name(self, text: str) -> str:
        if text and not _SOURCE.fullmatch(text):
            raise ValueError(f"not a name of a source: {text[:_SHOWN_CHARACTERS]!r}")
        return text or self._source


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_SHOWN_CHARACTERS]!r} is not finite")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < _MAX_US:
        raise ValueError(f"{value} is not between 0 and {_MAX_US:g} microseconds")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value < _MAX_US:
        raise ValueError(f"{value} is not a relative error")
    return value


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
                "same": _SAME_MOMENT_S,
            }
            if database.execute(_INSERT_IMPORTED, values).rowcount:
                added += 1
                has_own = database.execute(_HAS_ENTRY, values).fetchone() is not None
                beside_own += has_own
            else:
                known += 1
    return Imported(added, known, beside_own)
