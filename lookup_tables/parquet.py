"""Rows as Parquet, through pyarrow, which is imported only where it is needed.

A file of somebody else's is decoded by a process of its own, with bounds on its memory, its time
and what it writes: a few kilobytes of Parquet may stand for gigabytes, and the decoder is a large
piece of C++. What comes back is text, checked like that of a CSV file.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from lookup_tables.exchange import COLUMNS, ExchangeError, Row

__all__ = ["ParquetUnavailable", "as_csv", "write"]

_READER = Path(__file__).with_name("parquet_reader.py")

# Longer than the reader's limit of CPU time, which ends it in any case that is not a dead disk.
_DEADLINE_S = 300.0

_SHOWN_CHARACTERS = 300


class ParquetUnavailable(Exception):
    """There is no pyarrow in this environment."""


def _require_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise ParquetUnavailable("Parquet needs pyarrow, which is not installed")


def write(found: Iterable[Row], path: Path) -> int:
    """Write the Parquet file `path`; the number of rows."""
    _require_pyarrow()
    import pyarrow
    import pyarrow.parquet

    moment = pyarrow.timestamp("us", tz="UTC")
    types = {"measured_at": moment, **dict.fromkeys(("platform", "kernel", "source"), "string")}
    rows = list(found)
    columns = {
        "platform": [row.platform.text for row in rows],
        "kernel": [row.kernel.text for row in rows],
        "measured_at": [datetime.fromtimestamp(row.measured_at, UTC) for row in rows],
    }
    arrays = [
        pyarrow.array(
            columns[name] if name in columns else [getattr(row, name) for row in rows],
            types.get(name, "double"),
        )
        for name in COLUMNS
    ]
    table = pyarrow.table(arrays, names=list(COLUMNS))
    pyarrow.parquet.write_table(table, path, compression="zstd")
    return len(rows)


@contextmanager
def as_csv(path: Path, columns: Sequence[str], max_rows: int) -> Iterator[IO[str]]:
    """The rows of a Parquet file with just these columns as CSV, without a header.

    Raises ExchangeError where the file is not one, or is larger than it may be.
    """
    _require_pyarrow()
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as text:
        # -P: the names of this package's modules are not those of top-level ones.
        options = ("-P", "-X", "utf8")
        command = [sys.executable, *options, str(_READER), str(path), str(max_rows), *columns]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=text,
                stderr=subprocess.PIPE,
                timeout=_DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ExchangeError(f"reading it takes longer than {_DEADLINE_S:.0f} s") from error
        if done.returncode != 0:
            raise ExchangeError(_reason(done))
        text.seek(0)
        yield text


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why the reader refused the file; it says so in one line unless the file brought it down."""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == 1 and len(said) == 1:
        return "".join(c if c.isprintable() else "?" for c in said[0])[:_SHOWN_CHARACTERS]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
    return f"not a sound Parquet file: reading it ended with {how}"
