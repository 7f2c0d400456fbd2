"""Whether a table file is sound: what SQLite says of it, and what its rows say of each other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sqlite_utils import Database

from lookup_tables.kernel import Kernel, Platform, TextError
from lookup_tables.quality import Accepted, kernel_error, kernel_time
from lookup_tables.store import Store

__all__ = ["verify"]

# A version that adds the same numbers in another order may differ in the last digits.
_ROUNDING = 1e-9

_UNUSED_KERNELS = """
    SELECT kernel.key FROM kernel
    WHERE NOT EXISTS (SELECT 1 FROM measurement WHERE kernel_id = kernel.id)
      AND NOT EXISTS (SELECT 1 FROM rejection WHERE kernel_id = kernel.id)
      AND NOT EXISTS (SELECT 1 FROM imported WHERE kernel_id = kernel.id)
"""

_UNUSED_PLATFORMS = """
    SELECT platform.key FROM platform
    WHERE NOT EXISTS (SELECT 1 FROM batch WHERE platform_id = platform.id)
      AND NOT EXISTS (SELECT 1 FROM imported WHERE platform_id = platform.id)
      AND NOT EXISTS (SELECT 1 FROM platform_fact WHERE platform_id = platform.id)
"""

_ENTRIES = """
    SELECT kernel.key, entry.latency_us, entry.relative_error,
           measurement.latency_us, measurement.relative_error,
           measurement.null_us, measurement.null_error,
           measurement.kernel_id = entry.kernel_id AND batch.platform_id = entry.platform_id
    FROM entry
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN measurement ON measurement.id = entry.measurement_id
    JOIN batch ON batch.id = measurement.batch_id
"""

# The newest accepted measurement of every kernel on every platform, where it is not the entry.
_NOT_NEWEST = """
    SELECT kernel.key, platform.key
    FROM (SELECT batch.platform_id, measurement.kernel_id, max(measurement.id) AS newest
          FROM measurement JOIN batch ON batch.id = measurement.batch_id
          GROUP BY batch.platform_id, measurement.kernel_id) AS latest
    JOIN kernel ON kernel.id = latest.kernel_id
    JOIN platform ON platform.id = latest.platform_id
    LEFT JOIN entry ON entry.platform_id = latest.platform_id
                   AND entry.kernel_id = latest.kernel_id
    WHERE entry.measurement_id IS NOT latest.newest
"""

_COLD = """
    SELECT kernel.key, platform.key
    FROM entry
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN platform ON platform.id = entry.platform_id
    LEFT JOIN cold_measurement AS cold ON cold.id = entry.cold_measurement_id
    LEFT JOIN batch ON batch.id = cold.batch_id
    WHERE entry.cold_us IS NOT cold.latency_us
       OR cold.kernel_id IS NOT NULL
      AND (cold.kernel_id <> entry.kernel_id OR batch.platform_id <> entry.platform_id)
"""

# The newest cold measurement likewise.
_NOT_NEWEST_COLD = """
    SELECT kernel.key, platform.key
    FROM (SELECT batch.platform_id, cold.kernel_id, max(cold.id) AS newest
          FROM cold_measurement AS cold JOIN batch ON batch.id = cold.batch_id
          GROUP BY batch.platform_id, cold.kernel_id) AS latest
    JOIN kernel ON kernel.id = latest.kernel_id
    JOIN platform ON platform.id = latest.platform_id
    LEFT JOIN entry ON entry.platform_id = latest.platform_id
                   AND entry.kernel_id = latest.kernel_id
    WHERE entry.cold_measurement_id IS NOT latest.newest
"""


def verify(store: Store) -> list[str]:
    """Everything that is wrong with the file, a line each; empty for a sound one."""
    with store.connection.read() as database:
        damage = [
            f"integrity: {line}"
            for (line,) in database.execute("PRAGMA integrity_check")
            if line != "ok"
        ]
        # Rows of a damaged file say nothing about who wrote them.
        return damage or [*_references(database), *_texts(database), *_entries(database)]


def _references(database: Database) -> Iterator[str]:
    for table, row, parent, _ in database.execute("PRAGMA foreign_key_check"):
        where = table if row is None else f"{table} row {row}"
        yield f"{where} refers to a row of {parent} that is not there"
    for (key,) in database.execute(_UNUSED_KERNELS):
        yield f"kernel {key} is orphaned: no measurement, rejection or import is about it"
    for (key,) in database.execute(_UNUSED_PLATFORMS):
        yield f"platform {key} is orphaned: no batch, import or fact belongs to it"


def _texts(database: Database) -> Iterator[str]:
    """Keys are the hashes of the texts beside them, and the texts parse."""
    kinds: tuple[tuple[str, type[Kernel] | type[Platform]], ...]
    kinds = (("kernel", Kernel), ("platform", Platform))
    for table, kind in kinds:
        for key, text in database.execute(f"SELECT key, text FROM {table}"):
            try:
                is_own = kind.parse(text).key == key
            except TextError as error:
                yield f"{table} {key}: {error}"
            else:
                if not is_own:
                    yield f"{table} {key} is not the key of its text"


def _entries(database: Database) -> Iterator[str]:
    """Entries say what their measurements say, and are the newest ones."""
    for key, latency, error, measured, spread, null, null_error, belongs in database.execute(
        _ENTRIES
    ):
        if not belongs:
            yield f"the entry of kernel {key} points at another kernel's or platform's measurement"
            continue
        verdict = Accepted(measured, spread, 0)
        expected = (kernel_time(measured, null), kernel_error(verdict, null, null_error))
        pairs = zip((latency, error), expected, strict=True)
        if not all(math.isclose(a, b, rel_tol=_ROUNDING) for a, b in pairs):
            yield (
                f"the entry of kernel {key} says {latency:.6g} us +-{error:.2%}, its measurement"
                f" {expected[0]:.6g} us +-{expected[1]:.2%}"
            )
    for kernel, platform in database.execute(_NOT_NEWEST):
        yield f"the entry of kernel {kernel} on {platform} is not its newest measurement"
    for kernel, platform in database.execute(_COLD):
        yield f"the cold time of kernel {kernel} on {platform} is not that of a measurement of it"
    for kernel, platform in database.execute(_NOT_NEWEST_COLD):
        yield f"the cold time of kernel {kernel} on {platform} is not its newest"
