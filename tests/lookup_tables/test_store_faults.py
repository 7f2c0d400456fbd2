"""What the file refuses, and what it says when it cannot be used."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookup_tables import Store, TableError, TableFullError, TableLockedError
from lookup_tables.migrations import VERSION
from lookup_tables.quality import Accepted

IMPOSSIBLE_US = [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e9]
APPEND_ONLY = [
    "batch",
    "null_measurement",
    "measurement",
    "rejection",
    "network_measurement",
    "imported",
    "null_energy",
    "energy_measurement",
]


@pytest.fixture
def raw(store: Store, values: Any, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A plain connection to a file with one entry."""
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    connection = sqlite3.connect(tmp_path / "table.db", isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize("us", IMPOSSIBLE_US)
@pytest.mark.parametrize("column", ["latency_us", "null_us"])
def test_schema_refuses_impossible_measurements(
    raw: sqlite3.Connection, column: str, us: float
) -> None:
    columns = {
        "batch_id": 1,
        "kernel_id": 2,
        "windows": "[]",
        "latency_us": 1.0,
        "relative_error": 0.0,
        "null_us": 1.0,
        "null_error": 0.0,
        "nodes": 1,
        "delegated": 1,
    }
    raw.execute("INSERT INTO kernel VALUES (2, ?, 'ADD', 'int8', 'x')", ("b" * 32,))
    statement = (
        f"INSERT INTO measurement ({','.join(columns)})"
        f" VALUES ({','.join(f':{name}' for name in columns)})"
    )
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement, columns | {column: us})
    raw.execute(statement, columns)


@pytest.mark.parametrize("us", IMPOSSIBLE_US)
def test_schema_refuses_impossible_entries(raw: sqlite3.Connection, us: float) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE entry SET latency_us = ?", (us,))


@pytest.mark.parametrize("us", IMPOSSIBLE_US)
def test_a_batch_with_one_impossible_value_leaves_nothing(
    store: Store, values: Any, us: float
) -> None:
    bad = replace(values.accepted(2, 5.0), verdict=Accepted(us, 0.0, 2))
    with pytest.raises(TableError, match="refuses a value"):
        store.record_batch(values.platform, values.batch(values.accepted(1, 10.0), bad))
    assert store.platforms() == []
    assert not store.connection.database.conn.in_transaction


def test_a_kernel_stands_once_in_a_batch(store: Store, values: Any) -> None:
    twice = values.batch(values.accepted(1, 10.0), values.accepted(1, 11.0))
    with pytest.raises(TableError, match="UNIQUE"):
        store.record_batch(values.platform, twice)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET rowid = 99"])
def test_measurements_are_append_only(raw: sqlite3.Connection, table: str, statement: str) -> None:
    raw.execute("INSERT INTO rejection VALUES (1, 1, 1, 'hung', 1, '', '[]')")
    raw.execute(
        "INSERT INTO network_measurement VALUES (1, 1, ?, '[]', 1.0, 0.0, 1, 1)", ("a" * 64,)
    )
    times = "1.0, 0.0, 1.0, 1.0, 2.0"
    more = "3.0, 0.0, 'rapl', 4.0, 0.0"
    raw.execute(f"INSERT INTO imported VALUES (1, 1, 1, 'colleague', {times}, {more})")
    told = "'rapl', 2.0, 1.0, 1, 0.0, 0.0, 0.0"
    raw.execute(f"INSERT INTO null_energy VALUES (1, {told})")
    raw.execute(f"INSERT INTO energy_measurement VALUES (1, 1, 1, {told}, 0.5, 0.0, 1.5, 0.0)")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement.format(table))


def test_a_store_cannot_replace_a_measurement(store: Store, raw: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        store.connection.database.execute("REPLACE INTO measurement SELECT * FROM measurement")


def test_full_disk_loses_nothing_recorded_and_can_be_resumed(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    execute = store.connection.database.execute
    pages = execute("PRAGMA page_count").fetchone()[0]
    execute(f"PRAGMA max_page_count = {pages}")
    many = values.batch(*(values.accepted(units, 10.0) for units in range(2, 400)))
    with pytest.raises(TableFullError, match="disk is full"):
        store.record_batch(values.platform, many)
    assert set(store.entries(values.platform)) == {values.kernel(1)}
    execute("PRAGMA max_page_count = 1000000")
    store.record_batch(values.platform, many)
    assert len(store.entries(values.platform)) == 399


def test_locked_by_another_process(store: Store, values: Any, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "table.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store(tmp_path / "table.db", busy_timeout_s=0.05) as impatient:
        with pytest.raises(TableLockedError, match="locked by another process"):
            impatient.record_batch(values.platform, values.batch())
        other.execute("ROLLBACK")
        impatient.record_batch(values.platform, values.batch())
    other.close()


def test_a_write_transaction_holds_the_lock_before_it_reads(store: Store, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "table.db", isolation_level=None, timeout=0)
    with store.connection.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a table at all, but long enough to look like a header" * 20)
    with pytest.raises(TableError, match=r"notes\.txt is not a lookup table"):
        Store(path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photo (name)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TableError, match="some other program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(raw: sqlite3.Connection, tmp_path: Path) -> None:
    raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(TableError, match=f"newer version.*schema {VERSION + 1}.*up to {VERSION}"):
        Store(tmp_path / "table.db")


@pytest.mark.parametrize("path", ["nowhere/table.db", "."])
def test_cannot_be_opened(tmp_path: Path, path: str) -> None:
    with pytest.raises(TableError, match="cannot be opened"):
        Store(tmp_path / path)


def test_damaged_in_the_middle(store: Store, values: Any, tmp_path: Path) -> None:
    results = [values.accepted(units, 10.0) for units in range(1, 200)]
    store.record_batch(values.platform, values.batch(*results))
    store.close()
    damaged = tmp_path / "damaged.db"
    shutil.copy(tmp_path / "table.db", damaged)
    content = bytearray(damaged.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    damaged.write_bytes(content)
    with pytest.raises(TableError, match=r"damaged\.db"), Store(damaged) as opened:
        opened.entries(values.platform)


def test_text_that_no_version_writes(store: Store, raw: sqlite3.Connection, values: Any) -> None:
    raw.execute("UPDATE kernel SET text = 'nonsense'")
    with pytest.raises(TableError, match="not a kernel"):
        store.entries(values.platform)
