"""The statements by which a table is kept up: uses of kernels and drifts. Only `store` uses them.

A write belongs inside the transaction that `connection.Connection.write` opens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlite_utils import Database

from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import Drift
from lookup_tables.rows import insert_platform

# A kernel that the table knows nothing of has nothing to be kept up.
_ADD_USE = """
    INSERT INTO kernel_usage (platform_id, kernel_id, uses, last_used)
    SELECT platform.id, kernel.id, 1, :now FROM platform JOIN kernel
    WHERE platform.key = :platform AND kernel.key = :kernel
    ON CONFLICT (platform_id, kernel_id) DO UPDATE
    SET uses = uses + 1, last_used = max(last_used, excluded.last_used)
"""

_USES = """
    SELECT kernel.text, kernel_usage.uses
    FROM platform
    JOIN kernel_usage ON kernel_usage.platform_id = platform.id
    JOIN kernel ON kernel.id = kernel_usage.kernel_id
    WHERE platform.key = ?
"""

_INSERT_DRIFT = """
    INSERT INTO drift (platform_id, op, dtype, ratio, since, evidence)
    VALUES ((SELECT id FROM platform WHERE key = ?), ?, ?, ?, ?, ?)
"""

_DRIFTS = """
    SELECT drift.op, drift.dtype, drift.ratio, drift.since, drift.evidence
    FROM platform JOIN drift ON drift.platform_id = platform.id
    WHERE platform.key = ? ORDER BY drift.id
"""


def add_uses(database: Database, platform: Platform, kernels: Iterable[Kernel], now: float) -> None:
    """Count one more use of each of `kernels` that the table knows, at `now`."""
    for kernel in kernels:
        values = {"platform": platform.key, "kernel": kernel.key, "now": now}
        database.execute(_ADD_USE, values)


def uses(database: Database, platform: Platform) -> dict[Kernel, int]:
    found = database.execute(_USES, (platform.key,))
    return {Kernel.parse(text): count for text, count in found}


def insert_drift(database: Database, platform: Platform, drift: Drift) -> None:
    insert_platform(database, platform)
    evidence = json.dumps(dict(drift.evidence), sort_keys=True, allow_nan=False)
    values = (drift.op, drift.dtype, drift.ratio, drift.since, evidence)
    database.execute(_INSERT_DRIFT, (platform.key, *values))


def drifts(database: Database, platform: Platform) -> list[Drift]:
    found = database.execute(_DRIFTS, (platform.key,))
    return [
        Drift(op, dtype, ratio, since, json.loads(evidence))
        for op, dtype, ratio, since, evidence in found
    ]
