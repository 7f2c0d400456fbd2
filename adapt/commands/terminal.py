"""What these commands share on a terminal: columns, dates, a live line, the choice of a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

__all__ = [
    "UNKNOWN",
    "columns",
    "date",
    "json_text",
    "percent",
    "progress",
    "short_key",
    "table_file",
    "us",
]

if TYPE_CHECKING:
    from lookup_tables.kernel import Kernel, Platform

UNKNOWN = "-"

# Digits of a key that are shown: enough to tell the kernels of any real table apart.
_KEY_DIGITS = 12


def columns(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Rows of text in aligned columns, flush right but for those of the numbers in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def date(seconds: float | None) -> str:
    """Seconds since 1970 as UTC, to the minute."""
    if seconds is None:
        return UNKNOWN
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def us(value: float | None) -> str:
    """Microseconds to the nanosecond, comparable down a column."""
    return UNKNOWN if value is None else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share of 1."""
    return UNKNOWN if share is None else f"{share:.1%}"


def short_key(value: Kernel | Platform) -> str:
    """The beginning of a key, by which commands know the value."""
    return value.key[:_KEY_DIGITS]


def json_text(value: Any) -> str:
    """What --json prints."""
    return json.dumps(value, indent=1, allow_nan=False)


def table_file(chosen: Path | None) -> Path:
    """The table file that --tables names, or the configured one."""
    from adapt.config import load_config

    return chosen or load_config().table_file


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Keeps "`what`, 3 of 20" in a live line on stderr, where that is a terminal."""
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if live:
            click.echo(f"\r{what}, {done} of {total}\033[K", nl=False, err=True)

    try:
        yield show
    finally:
        if live:
            click.echo("\r\033[K", nl=False, err=True)
