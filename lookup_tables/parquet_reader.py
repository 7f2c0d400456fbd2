"""A program, started by `parquet`: PATH MAX_ROWS COLUMN... writes a Parquet file as CSV to stdout.

Imports nothing but pyarrow, so that a hostile file meets as little as possible. Exit code 1 and one
line on stderr where the file is refused.
"""

from __future__ import annotations

import csv
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

# Memory of the whole process: pyarrow itself takes 300 MB of addresses.
_ADDRESS_SPACE = 1 << 30
_CPU_S = 120
# What is written. A row has 500 bytes of text or less.
_TEXT_BYTES = 1 << 28

# Of one column in one part of the file ("row group"), as declared; writers end a part at a million
# rows or at 128 MiB.
_COLUMN_BYTES = 1 << 28

# Rows that are decoded at a time.
_BATCH_ROWS = 16_384

# Bounds on the file's own description of itself.
_DESCRIPTION_BYTES = 1 << 24
_DESCRIPTION_ITEMS = 1 << 20

# pandas writes a column without any value as one of nulls.
_TEXTS = ("string", "large_string", "string_view", "null")
_UNITS_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Refused(Exception):
    """Why the file is not read."""


def main(arguments: Sequence[str]) -> int:
    """Write the file; the exit code."""
    path, max_rows, *columns = arguments
    _limit()
    import pyarrow

    try:
        _convert(path, int(max_rows), columns)
        sys.stdout.flush()
    except MemoryError:
        return _refuse("reading it takes more memory than a table can need")
    except (_Refused, pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            return _refuse(f"more than {_TEXT_BYTES} bytes of text")
        return _refuse(str(error))
    return 0


def _refuse(why: str) -> int:
    print(" ".join(why.split()) or "not a Parquet file", file=sys.stderr)
    return 1


def _limit() -> None:
    """Bound what the process may take. Where the system knows no such bound it does without."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: _ADDRESS_SPACE,
        resource.RLIMIT_CPU: _CPU_S,
        resource.RLIMIT_FSIZE: _TEXT_BYTES,
    }
    for kind, value in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))
    # The other allocators of pyarrow reserve addresses far ahead.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


def _convert(path: str, max_rows: int, columns: Sequence[str]) -> None:
    import pyarrow.parquet

    bounds = {
        "thrift_string_size_limit": _DESCRIPTION_BYTES,
        "thrift_container_size_limit": _DESCRIPTION_ITEMS,
    }
    with pyarrow.parquet.ParquetFile(path, **bounds) as file:
        _check(file.metadata, max_rows, columns)
        spell = [_speller(*each) for each in zip(columns, file.schema_arrow.types, strict=True)]
    # A text that stands in many rows is held once.
    with pyarrow.parquet.ParquetFile(path, read_dictionary=list(columns), **bounds) as file:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        rows = 0
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            rows += batch.num_rows
            if rows > max_rows:
                raise _Refused(f"at most {max_rows} rows are read")
            texts = (texts(column) for texts, column in zip(spell, batch.columns, strict=True))
            writer.writerows(zip(*texts, strict=True))


def _check(described: Any, max_rows: int, columns: Sequence[str]) -> None:
    """What the file says of itself; nothing of it is decoded yet."""
    if described.schema.names != list(columns):
        raise _Refused(f"the columns are not {','.join(columns)}")
    if described.num_rows > max_rows:
        raise _Refused(f"{described.num_rows} rows, at most {max_rows} are read")
    for part in range(described.num_row_groups):
        for column, name in enumerate(columns):
            nbytes = described.row_group(part).column(column).total_uncompressed_size
            if not 0 <= nbytes <= _COLUMN_BYTES:
                raise _Refused(f"column {name}: {nbytes} bytes of it in one part")


def _speller(name: str, kind: Any) -> Callable[[Any], Iterator[str]]:
    """What gives the values of a column of this type as in CSV; an absent one is empty."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if str(kind) in _TEXTS:
        return partial(_spell, str)
    if types.is_float64(kind):
        return partial(_spell, repr)
    if types.is_timestamp(kind) and kind.tz is not None and kind.unit in _UNITS_PER_SECOND:
        moment = partial(_moment, per_second=_UNITS_PER_SECOND[kind.unit])
        return lambda column: _spell(moment, column.cast("int64"))
    raise _Refused(
        f"column {name}: values of type {kind}; text, doubles and timestamps with a time zone are"
        " understood"
    )


def _spell(spelled: Callable[[Any], str], column: Any) -> Iterator[str]:
    return ("" if value is None else spelled(value) for value in column.to_pylist())


def _moment(value: int, per_second: int) -> str:
    """A timestamp as ISO 8601, exact to the microsecond."""
    since = timedelta(microseconds=value * 10**6 // per_second)
    return (_EPOCH + since).isoformat(timespec="microseconds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
