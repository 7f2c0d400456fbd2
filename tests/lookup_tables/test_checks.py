"""Files that are sound, and files that somebody or something has changed."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    EnergyResult,
    EnergyRun,
    Store,
)
from lookup_tables.checks import verify
from lookup_tables.exchange import Row, merge


@pytest.fixture
def filled(store: Store, values: Any) -> Store:
    """Two platforms; one entry measured twice and cold, one under a meter; an import, a fact."""
    store.record_batch(
        values.platform, values.batch(values.accepted(1, 10.0), values.accepted(2, 20.0))
    )
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.1)))
    for us in (12.0, 12.5):
        cold = ColdResult(values.kernel(1), 9, (), Accepted(us, 0.01, 2))
        store.record_batch(values.platform, BatchRecord(wall_ms=1.0, cold=(cold,)))
    store.record_fact(replace(values.platform, threads=2), "l2_bytes", 1024.0, {})
    run = EnergyRun("rapl", 9_000.0, 5.0, 100, 800.0, 820.0, 0.1)
    energy = (EnergyResult(values.kernel(2), run),)
    null = EnergyRun("rapl", 9_000.0, 5.0, 1_000, 800.0, 820.0, 0.01)
    store.record_batch(values.platform, BatchRecord(1.0, energy=energy, null_energy=null))
    row = Row(values.other_platform, values.kernel(3), 7.0, 0.0, 0.5, 1.0, "colleague")
    merge(store, [row], 2.0)
    return store


def test_a_sound_file(filled: Store) -> None:
    assert verify(filled) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE entry SET latency_us = 1 WHERE kernel_id = 1", "says 1 us"),
        ("UPDATE entry SET relative_error = 0.5 WHERE kernel_id = 1", r"\+-50.00%, its"),
        ("UPDATE entry SET measurement_id = 1 WHERE kernel_id = 1", "not its newest"),
        ("UPDATE entry SET kernel_id = 3 WHERE kernel_id = 2", "another kernel's"),
        ("UPDATE entry SET platform_id = 2 WHERE kernel_id = 2", "another kernel's or platform's"),
        ("DELETE FROM entry WHERE kernel_id = 2", "not its newest"),
        ("UPDATE entry SET cold_us = 1 WHERE kernel_id = 1", "cold time .* of a measurement of it"),
        ("UPDATE entry SET cold_us = 12, cold_measurement_id = 1", "cold time .* not its newest"),
        ("UPDATE cold_measurement SET kernel_id = 2", "cold time .* of a measurement of it"),
        ("DELETE FROM cold_measurement WHERE id = 2", "row of cold_measurement that is not there"),
        ("DELETE FROM platform_fact", "platform .* is orphaned"),
        ("UPDATE entry SET energy_uj = 1 WHERE kernel_id = 2", "energy .* is not that of a"),
        ("UPDATE entry SET energy_measurement_id = NULL", "energy .* is not that of a measurement"),
        ("UPDATE energy_measurement SET kernel_id = 1", "energy .* is not that of a measurement"),
        (
            "UPDATE energy_measurement SET run_uj = 8000",
            r"44.55 uJ, by its raw .* 34.5",
        ),
        ("UPDATE energy_measurement SET null_error_uj = 3", "energy .* by its raw readings"),
        ("DELETE FROM batch WHERE id = 1", "row of batch that is not there"),
        ("DELETE FROM imported", "kernel .* is orphaned"),
        ("DELETE FROM imported", "platform .* is orphaned"),
        ("UPDATE kernel SET text = 'nonsense' WHERE id = 1", "kernel .*: not a kernel"),
        ("UPDATE kernel SET text = replace(text, 'RELU', 'TANH') WHERE id = 1", "not the key"),
        ("UPDATE platform SET text = '{}' WHERE id = 1", "platform .*: not a platform"),
    ],
)
def test_a_change_is_found(filled: Store, change: str, message: str) -> None:
    connection = sqlite3.connect(filled.path, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(change)
    connection.close()
    faults = verify(filled)
    assert any(re.search(message, fault) for fault in faults), faults


def test_damaged_pages_are_found(filled: Store, tmp_path: Path) -> None:
    filled.connection.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    filled.close()
    path = tmp_path / "table.db"
    connection = sqlite3.connect(path)
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'measurement'"
    ).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    # The count of cells of a page, at its fourth byte: one row fewer than the index has.
    content[(root - 1) * size + 4] -= 1
    path.write_bytes(content)
    with Store(path) as opened:
        assert any(fault.startswith("integrity: ") for fault in verify(opened))
