"""The statements that write table rows; `queries` has those that read them.

A write belongs inside the transaction that `connection.Connection.write` opens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from sqlite_utils import Database

from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Accepted, Rejected, Window
from lookup_tables.records import (
    BatchRecord,
    ColdResult,
    EnergyResult,
    Entry,
    Fact,
    JsonObject,
    KernelResult,
    NetworkResult,
    NullResult,
    NullTime,
)

_KEEP_COLD_TIME = """
    UPDATE entry SET cold_measurement_id = ?, cold_us = ?
    WHERE kernel_id = ? AND platform_id = (SELECT id FROM platform WHERE key = ?)
"""


def insert_platform(database: Database, platform: Platform) -> None:
    database.execute(
        "INSERT INTO platform (key, text) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
        (platform.key, platform.text),
    )


def insert_fact(database: Database, platform: Platform, name: str, fact: Fact) -> None:
    insert_platform(database, platform)
    database.execute(
        "INSERT INTO platform_fact (platform_id, name, value, host_time, evidence)"
        " VALUES ((SELECT id FROM platform WHERE key = ?), ?, ?, ?, ?)",
        (platform.key, name, fact.value, fact.learnt_at, _json(fact.evidence)),
    )


def insert_batch(database: Database, platform: Platform, record: BatchRecord, now: float) -> int:
    insert_platform(database, platform)
    cursor = database.execute(
        "INSERT INTO batch (platform_id, host_time, wall_ms, before, after, facts)"
        " VALUES ((SELECT id FROM platform WHERE key = ?), ?, ?, ?, ?, ?)",
        (
            platform.key,
            now,
            record.wall_ms,
            *map(_json, (record.before, record.after, record.facts)),
        ),
    )
    batch = int(cursor.lastrowid)
    if record.null is not None:
        _insert_null(database, batch, record.null)
    return batch


def _insert_null(database: Database, batch: int, null: NullResult) -> None:
    database.execute(
        "INSERT INTO null_measurement (batch_id, windows, latency_us, relative_error)"
        " VALUES (?, ?, ?, ?)",
        (batch, _columns(null.windows), null.verdict.latency_us, null.verdict.relative_error),
    )


def kernel_id_of(database: Database, kernel: Kernel) -> int:
    database.execute(
        "INSERT INTO kernel (key, op, dtype, text) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (key) DO NOTHING",
        (kernel.key, kernel.op, kernel.dtype, kernel.text),
    )
    row = database.execute("SELECT id FROM kernel WHERE key = ?", (kernel.key,)).fetchone()
    return int(row[0])


def insert_measurement(
    database: Database,
    platform: Platform,
    result: KernelResult,
    verdict: Accepted,
    null: NullTime,
    entry: Entry,
) -> None:
    kernel_id = kernel_id_of(database, result.kernel)
    cursor = database.execute(
        "INSERT INTO measurement (batch_id, kernel_id, windows, latency_us, relative_error,"
        " null_us, null_error, nodes, delegated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.batch,
            kernel_id,
            _columns(result.windows),
            verdict.latency_us,
            verdict.relative_error,
            null.latency_us,
            null.relative_error,
            result.nodes,
            result.delegated,
        ),
    )
    database.execute(
        "INSERT INTO entry (platform_id, kernel_id, measurement_id, latency_us, relative_error)"
        " VALUES ((SELECT id FROM platform WHERE key = ?), ?, ?, ?, ?)"
        " ON CONFLICT (platform_id, kernel_id) DO UPDATE SET measurement_id ="
        " excluded.measurement_id, latency_us = excluded.latency_us,"
        " relative_error = excluded.relative_error",
        (platform.key, kernel_id, cursor.lastrowid, entry.latency_us, entry.relative_error),
    )


def insert_cold(
    database: Database, platform: Platform, batch: int, result: ColdResult, verdict: Accepted
) -> None:
    """Add a cold time to the kernel's entry, which exists."""
    kernel_id = kernel_id_of(database, result.kernel)
    cursor = database.execute(
        "INSERT INTO cold_measurement (batch_id, kernel_id, copies, one_windows, all_windows,"
        " latency_us, relative_error, nodes, delegated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            batch,
            kernel_id,
            result.copies,
            _columns(result.one),
            _columns(result.all),
            verdict.latency_us,
            verdict.relative_error,
            result.nodes,
            result.delegated,
        ),
    )
    database.execute(
        _KEEP_COLD_TIME, (cursor.lastrowid, verdict.latency_us, kernel_id, platform.key)
    )


def insert_rejection(
    database: Database,
    batch: int,
    result: KernelResult | ColdResult | EnergyResult,
    verdict: Rejected,
) -> None:
    """Keep a rejection; one of copies, or of an energy, says nothing against the kernel itself."""
    match result:
        case KernelResult():
            windows, part = result.windows, ""
        case ColdResult():
            windows, part = result.all, "cold: "
        case EnergyResult():
            windows, part = (), "energy: "
    database.execute(
        "INSERT INTO rejection (batch_id, kernel_id, reason, poisonous, detail, windows)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            batch,
            kernel_id_of(database, result.kernel),
            verdict.reason.value,
            verdict.reason.poisonous and not part,
            part + verdict.detail,
            _columns(windows),
        ),
    )


def insert_network(database: Database, batch: int, result: NetworkResult) -> None:
    database.execute(
        "INSERT INTO network_measurement (batch_id, sha256, windows, latency_us, relative_error,"
        " nodes, delegated) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            batch,
            result.sha256,
            _columns(result.windows),
            result.verdict.latency_us,
            result.verdict.relative_error,
            result.nodes,
            result.delegated,
        ),
    )


def _json(value: JsonObject) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _columns(windows: Sequence[Window]) -> str:
    """Raw windows as a JSON object of columns."""
    names = [field.name for field in fields(Window)]
    return _json({name: [getattr(window, name) for window in windows] for name in names})


def _plain(value: object) -> object:
    """`value` as JSON has it; NaN and infinity, for which it has no number, by name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value
