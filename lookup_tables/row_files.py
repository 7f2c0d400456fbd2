"""Rows as files: CSV, or Parquet where pyarrow is installed; the fields of `Row` are the columns.

`platform` and `kernel` are canonical text, times are microseconds. The date is ISO 8601 with a time
zone in CSV, a timestamp of microseconds in UTC in Parquet. What is not known, such as a cold time
that was never measured, is empty in CSV and null in Parquet. Whatever is read is checked field by
field, and there is one place that does it: a Parquet file is turned into CSV on its way in.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from lookup_tables import parquet
from lookup_tables.exchange import COLUMNS, ExchangeError, Row
from lookup_tables.kernel import Kernel, Platform

__all__ = ["MAX_ROWS", "is_parquet", "read", "read_file", "write", "write_file"]

# Bounds on a file of somebody else's; such a number of rows takes 1 GB of memory.
MAX_ROWS = 200_000
MAX_FILE_BYTES = 1 << 28

# The schema's own bound: a larger figure is a wrong unit.
_MAX_US = 1e9

# Clocks of two machines may differ; a date further ahead would stay the newest for ever.
_MAX_AHEAD_S = 86_400.0

# A source is shown in terminals and opened in spreadsheets: no control characters, no formulas.
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.@:/-]{0,99}", re.ASCII)

_SHOWN_CHARACTERS = 80


def is_parquet(path: Path) -> bool:
    """Whether a file of this name is taken for Parquet; any other is CSV."""
    return path.suffix.lower() == ".parquet"


def write_file(found: Iterable[Row], path: Path, *, as_parquet: bool) -> int:
    """Write the file `path`; the number of rows.

    Raises ParquetUnavailable where that needs pyarrow and there is none.
    """
    if as_parquet:
        return parquet.write(found, path)
    with path.open("w", newline="", encoding="utf-8") as file:
        return write(found, file)


def read_file(path: Path, *, source: str, now: float) -> list[Row]:
    """Every row of the file `path`, in the format that its name says; else as `read`.

    Raises ParquetUnavailable where that needs pyarrow and there is none, OSError where there is no
    such file.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ExchangeError("not a file")
    if size > MAX_FILE_BYTES:
        raise ExchangeError(f"{size} bytes, at most {MAX_FILE_BYTES} are read")
    if is_parquet(path):
        return _read_parquet(path, _Parser(source, now))
    with path.open(newline="", encoding="utf-8") as file:
        return read(file, source=source, now=now)


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
                *("" if value is None else repr(value) for value in (row.cold_us, row.cold_error)),
            ]
        )
    return count


def read(file: IO[str], *, source: str, now: float) -> list[Row]:
    """Every row of a CSV file opened with newline=""; an empty source becomes `source`.

    `now` is seconds since 1970. Raises ExchangeError, with line and column, where anything is not
    as `write` writes it.
    """
    parser = _Parser(source, now)
    lines = csv.reader(file, strict=True)
    try:
        if tuple(next(lines, [])) != COLUMNS:
            raise ExchangeError(f"line 1: the columns are not {','.join(COLUMNS)}")
        return [parser.row(f"line {lines.line_num}", values) for values in lines if values]
    except csv.Error as error:
        raise ExchangeError(f"line {lines.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise ExchangeError(f"after line {lines.line_num}: not UTF-8 text") from error


def _read_parquet(path: Path, parser: _Parser) -> list[Row]:
    found: list[Row] = []
    with parquet.as_csv(path, COLUMNS, MAX_ROWS) as file:
        try:
            for values in csv.reader(file, strict=True):
                found.append(parser.row(f"row {len(found) + 1}", values))
        except csv.Error as error:
            raise ExchangeError(f"row {len(found) + 1}: {error}") from error
    return found


class _Parser:
    """Turns the fields of a line into a Row, checking each, and counts them."""

    def __init__(self, source: str, now: float) -> None:
        if not _SOURCE.fullmatch(source):
            raise ExchangeError(f"not a name of a source: {source[:_SHOWN_CHARACTERS]!r}")
        self._rows = 0
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
            "cold_us": _optional(_positive),
            "cold_error": _optional(_share),
        }

    def row(self, where: str, values: Sequence[str]) -> Row:
        self._rows += 1
        if self._rows > MAX_ROWS:
            raise ExchangeError(f"{where}: at most {MAX_ROWS} rows are read")
        if len(values) != len(COLUMNS):
            raise ExchangeError(f"{where}: {len(values)} fields, {len(COLUMNS)} are due")
        parsed: dict[str, object] = {}
        for (name, parse), value in zip(self._columns.items(), values, strict=True):
            try:
                parsed[name] = parse(value)
            except ValueError as error:
                raise ExchangeError(f"{where}, column {name}: {error}") from error
        if (parsed["cold_us"] is None) != (parsed["cold_error"] is None):
            raise ExchangeError(f"{where}: one of cold_us and cold_error without the other")
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


def _optional(parse: Callable[[str], float]) -> Callable[[str], float | None]:
    return lambda text: parse(text) if text else None


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
