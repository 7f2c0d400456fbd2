"""Rows as files in both formats: what comes back, what is refused, what a hostile file can do."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookup_tables import Store, parquet, row_files
from lookup_tables.exchange import COLUMNS, ExchangeError, Imported, Row, export_rows, merge
from lookup_tables.parquet import ParquetUnavailable
from lookup_tables.row_files import read_file, write_file

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NOW = 1_750_000_000.0
MUTANTS = 300 if os.environ.get("ADAPT_LONG") else 8


def written(path: Path, rows: list[Row]) -> Path:
    """`path` with `rows` in it, in the format that its name says."""
    count = write_file(rows, path, as_parquet=row_files.is_parquet(path))
    assert count == len(rows)
    return path


def read_back(path: Path, source: str = "colleague") -> list[Row]:
    return read_file(path, source=source, now=NOW)


@pytest.fixture
def row(values: Any) -> Row:
    return Row(values.platform, values.kernel(1), 7.25, 0.004, 0.5, 1_700_000_000.25, "colleague")


@pytest.fixture
def odd(row: Row, values: Any) -> list[Row]:
    """Rows with figures of every size, two platforms and names that CSV has to quote."""
    rough = replace(values.platform, soc='Tensor, "G2"\N{GREEK SMALL LETTER MU}')
    return [
        row,
        replace(row, platform=rough, latency_us=0.1 + 0.2, measured_at=1_600_000_000.000001),
        replace(row, kernel=values.kernel(2), latency_us=1e-3, relative_error=0.0, null_us=5e-324),
        replace(row, kernel=values.kernel(3), relative_error=1e8, measured_at=0.0, source="alice"),
    ]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """A colleague's table."""
    with Store(tmp_path / "other.db", clock=lambda: 1_700_000_100.0) as opened:
        yield opened


def table_of(row: Row) -> Any:
    """What `write_file` makes of one row, as pyarrow has it."""
    text = {"platform": row.platform.text, "kernel": row.kernel.text, "source": row.source}
    given = {name: [text.get(name, getattr(row, name))] for name in COLUMNS}
    given["measured_at"] = pa.array([round(row.measured_at * 1e6)], pa.timestamp("us", "UTC"))
    return pa.table(given)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "ROWS.PARQUET", "rows"])
def test_rows_come_back_as_they_were(odd: list[Row], tmp_path: Path, name: str) -> None:
    assert read_back(written(tmp_path / name, odd)) == odd


def test_both_formats_say_the_same(odd: list[Row], tmp_path: Path) -> None:
    as_csv, as_parquet = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    written(as_parquet, odd)
    written(as_csv, read_back(as_parquet))
    direct = written(tmp_path / "direct.csv", odd)
    assert as_csv.read_bytes() == direct.read_bytes()
    assert pq.read_schema(as_parquet).names == list(COLUMNS)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_no_rows(tmp_path: Path, name: str) -> None:
    assert read_back(written(tmp_path / name, [])) == []


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_conflict_keeps_both_with_their_source(
    store: Store, other: Store, values: Any, tmp_path: Path, name: str
) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    other.record_batch(values.platform, values.batch(values.accepted(1, 20.0)))
    theirs = read_back(written(tmp_path / name, export_rows(other)))
    assert merge(store, theirs, NOW) == Imported(1, 0, 1)
    assert merge(store, theirs, NOW) == Imported(0, 1, 0)
    (kept,) = store.entries(values.platform).values()
    assert (kept.latency_us, kept.source) == (9.5, "")
    assert [(r.latency_us, r.source) for r in export_rows(store)] == [
        (9.5, ""),
        (19.5, "colleague"),
    ]


def test_pandas_types_are_understood(row: Row, tmp_path: Path) -> None:
    table = table_of(row)
    for name in ("platform", "kernel", "source"):
        at = table.column_names.index(name)
        kind = pa.dictionary(pa.int8(), pa.string()) if name == "source" else pa.large_string()
        table = table.set_column(at, name, table[name].cast(kind))
    at = table.column_names.index("measured_at")
    table = table.set_column(
        at, "measured_at", table["measured_at"].cast(pa.timestamp("ns", "CET"))
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    assert read_back(tmp_path / "rows.parquet") == [row]


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        ("latency_us", pa.array([[1.0]]), "the columns are not"),
        ("latency_us", pa.array(["fast"]), "row 1, column latency_us: could not convert"),
        ("latency_us", pa.array([None], pa.float64()), "row 1, column latency_us: could not"),
        ("latency_us", pa.array([float("nan")]), "row 1, column latency_us: 'nan' is not finite"),
        ("latency_us", pa.array([b"1"]), "column latency_us: values of type binary"),
        ("latency_us", pa.array([1]), "column latency_us: values of type int64"),
        ("measured_at", pa.array([0], pa.timestamp("us")), "values of type timestamp"),
        ("measured_at", pa.array([1 << 62], pa.timestamp("us", "UTC")), "date value out of range"),
        ("measured_at", pa.array([1 << 52], pa.timestamp("us", "UTC")), "in the future"),
        ("kernel", pa.array(["RELU"]), "row 1, column kernel: not a kernel"),
        ("kernel", pa.array([b"RELU"]), "column kernel: values of type"),
        ("kernel", pa.array(["A" * 200_000]), "row 1: field larger than field limit"),
        ("source", pa.array(["=1+1"]), "row 1, column source"),
    ],
)
def test_a_bad_value_is_refused_by_row_and_column(
    row: Row, tmp_path: Path, column: str, cells: Any, message: str
) -> None:
    table = table_of(row)
    table = table.set_column(table.column_names.index(column), column, cells)
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ExchangeError, match=message):
        read_back(tmp_path / "rows.parquet")


def test_other_columns_are_refused(row: Row, tmp_path: Path) -> None:
    table = table_of(row)
    renamed = table.rename_columns([*COLUMNS[:-1], "author"])
    for wrong in (table.drop_columns("source"), renamed, table.append_column("source", [["x"]])):
        pq.write_table(wrong, tmp_path / "rows.parquet")
        with pytest.raises(ExchangeError, match="the columns are not platform,kernel"):
            read_back(tmp_path / "rows.parquet")


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_too_many_rows_are_refused(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = written(tmp_path / name, [row] * 4)
    monkeypatch.setattr(row_files, "MAX_ROWS", 3)
    with pytest.raises(ExchangeError, match="at most 3"):
        read_back(path)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_only_files_of_a_sane_size_are_read(tmp_path: Path, name: str) -> None:
    sparse = tmp_path / name
    with sparse.open("wb") as file:
        file.truncate(row_files.MAX_FILE_BYTES + 1)
    with pytest.raises(ExchangeError, match="bytes, at most"):
        read_back(sparse)
    sparse.unlink()
    os.mkfifo(sparse)
    with pytest.raises(ExchangeError, match="not a file"):
        read_back(sparse)
    with pytest.raises(FileNotFoundError):
        read_back(tmp_path / f"absent.{name}")


def test_text_that_unfolds_to_gigabytes_is_refused(row: Row, tmp_path: Path) -> None:
    """A text of 50 MB in each of many rows, in a file of some kilobytes."""
    index = pa.array([0] * 1000, pa.int32())
    column = pa.DictionaryArray.from_arrays(index, pa.array(["A" * 50_000_000]))
    table = pa.concat_tables([table_of(row)] * 1000).combine_chunks()
    table = table.set_column(COLUMNS.index("kernel"), "kernel", column)
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ExchangeError, match=r"memory|bytes"):
        read_back(path)


def test_a_file_that_lies_about_its_size_is_refused(row: Row, tmp_path: Path) -> None:
    """A page of 450 MB, of which the file says that it has one byte."""
    size = 450_000_000
    table = table_of(row)
    table = table.set_column(COLUMNS.index("kernel"), "kernel", pa.array(["A" * size]))
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    with pytest.raises(ExchangeError, match=r"column kernel: \d+ bytes of it in one part"):
        read_back(path)
    meta = pq.read_metadata(path).row_group(0).column(COLUMNS.index("kernel"))
    content = path.read_bytes()
    true = varint(meta.total_uncompressed_size)
    assert content.count(true) == 1
    lie = varint(1)[:-1] + bytes([varint(1)[-1] | 0x80]) + b"\x80" * (len(true) - 2) + b"\0"
    assert len(lie) == len(true)
    path.write_bytes(content.replace(true, lie))
    meta = pq.read_metadata(path).row_group(0).column(COLUMNS.index("kernel"))
    assert meta.total_uncompressed_size == 1
    with pytest.raises(ExchangeError, match="memory"):
        read_back(path)


def varint(value: int) -> bytes:
    """A signed number as a Parquet file's description has it: zigzag, seven bits a byte."""
    left, result = value << 1, bytearray()
    while left >= 0x80:
        result.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*result, left])


def damaged(content: bytes, count: int) -> list[bytes]:
    """Copies with bytes changed, most of them in the description at the end, or cut short."""
    chance = random.Random(5)
    result = []
    for _ in range(count):
        data = bytearray(content)
        if chance.random() < 0.2:
            del data[chance.randrange(8, len(data)) :]
        for _ in range(chance.randint(1, 6)):
            least = len(data) // 2 if chance.random() < 0.7 else 4
            data[chance.randrange(least, len(data))] = chance.choice([0, 1, 0x15, 127, 128, 255])
        result.append(bytes(data))
    return result


def test_damaged_files_are_read_or_refused(odd: list[Row], tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", odd)
    refusals = []
    for content in damaged(path.read_bytes(), MUTANTS):
        path.write_bytes(content)
        try:
            read_back(path)
        except ExchangeError as error:
            refusals.append(str(error))
    assert len(refusals) > MUTANTS / 2
    assert not [text for text in refusals if "Traceback" in text or "\n" in text]
    path.write_bytes(b"")
    with pytest.raises(ExchangeError, match="Parquet"):
        read_back(path)


def test_a_reader_that_dies_is_a_refusal(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "rows.parquet", [row])
    reader = tmp_path / "reader.py"
    monkeypatch.setattr(parquet, "_READER", reader)
    for program, message in (
        ("import os; os.kill(os.getpid(), 11)", "ended with signal 11"),
        ("raise AssertionError", "ended with code 1"),
    ):
        reader.write_text(program)
        with pytest.raises(ExchangeError, match=f"not a sound Parquet file: .*{message}"):
            read_back(path)


def test_without_pyarrow_csv_still_works(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "rows.parquet", [row])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for act in (lambda: read_back(path), lambda: written(path, [row])):
        with pytest.raises(ParquetUnavailable, match="needs pyarrow"):
            act()
    assert read_back(written(tmp_path / "rows.csv", [row])) == [row]
