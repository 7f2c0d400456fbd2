"""The statements that read table rows, all but those of `survey`. Only `store` uses them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from sqlite_utils import Database

from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import Fact, NullTime

_OWN = """
    SELECT kernel.text, kernel.key, entry.latency_us, entry.relative_error,
           measurement.null_us, batch.id, batch.host_time, '',
           entry.cold_us, cold_measurement.relative_error, cold_batch.host_time,
           entry.energy_uj, energy_measurement.relative_error,
           ifnull(energy_measurement.meter, '') AS energy_meter, energy_batch.host_time
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN measurement ON measurement.id = entry.measurement_id
    JOIN batch ON batch.id = measurement.batch_id
    LEFT JOIN cold_measurement ON cold_measurement.id = entry.cold_measurement_id
    LEFT JOIN batch AS cold_batch ON cold_batch.id = cold_measurement.batch_id
    LEFT JOIN energy_measurement ON energy_measurement.id = entry.energy_measurement_id
    LEFT JOIN batch AS energy_batch ON energy_batch.id = energy_measurement.batch_id
    WHERE platform.key = :platform
"""

# The newest import of each kernel that has no entry of its own.
_IMPORTED = """
    SELECT kernel.text, kernel.key, imported.latency_us, imported.relative_error,
           imported.null_us, 0, imported.measured_at, imported.source, imported.cold_us,
           imported.cold_error, CASE WHEN imported.cold_us > 0 THEN imported.measured_at END,
           imported.energy_uj, imported.energy_error, ifnull(imported.energy_meter, ''),
           CASE WHEN imported.energy_uj > 0 THEN imported.measured_at END
    FROM platform
    JOIN imported ON imported.platform_id = platform.id
    JOIN kernel ON kernel.id = imported.kernel_id
    WHERE platform.key = :platform
      AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.platform_id = platform.id
                      AND entry.kernel_id = imported.kernel_id)
      AND imported.id = (SELECT newest.id FROM imported AS newest
                         WHERE newest.platform_id = imported.platform_id
                         AND newest.kernel_id = imported.kernel_id
                         ORDER BY newest.measured_at DESC, newest.id DESC LIMIT 1)
"""

_OF_KEYS = " AND kernel.key IN (SELECT value FROM json_each(:keys))"

ENTRIES = f"{_OWN} UNION ALL {_IMPORTED}"

ENTRIES_OF_KEYS = f"{_OWN}{_OF_KEYS} UNION ALL {_IMPORTED}{_OF_KEYS}"

METERED = f"SELECT * FROM ({_OWN} UNION ALL {_IMPORTED}) WHERE energy_meter = :meter"

_NULLS = """
    SELECT measurement.null_us, measurement.null_error
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN measurement ON measurement.id = entry.measurement_id
    WHERE platform.key = ?
"""

# An import states one error, that of the kernel's time; its null time is taken as it is.
_IMPORTED_NULLS = """
    SELECT imported.null_us, 0.0
    FROM platform JOIN imported ON imported.platform_id = platform.id WHERE platform.key = ?
"""

REJECTIONS = """
    SELECT kernel.text, rejection.reason, rejection.detail, batch.id, batch.host_time
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN rejection ON rejection.batch_id = batch.id
    JOIN kernel ON kernel.id = rejection.kernel_id
    WHERE platform.key = ? ORDER BY rejection.id
"""

# SQLite takes the bare columns of an aggregate with max() from the row that has the maximum.
QUARANTINED = """
    SELECT kernel.text, rejection.reason, rejection.detail, count(*), max(rejection.id)
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN rejection ON rejection.batch_id = batch.id
    JOIN kernel ON kernel.id = rejection.kernel_id
    LEFT JOIN entry ON entry.platform_id = platform.id AND entry.kernel_id = kernel.id
    LEFT JOIN measurement ON measurement.id = entry.measurement_id
    WHERE platform.key = ? AND rejection.poisonous
      AND batch.id > ifnull(measurement.batch_id, 0)
    GROUP BY kernel.id HAVING count(*) >= ?
"""

# A cold time that cannot be had is no fault of the kernel's: it has no reason of its own.
NEVER_COLD = """
    SELECT kernel.text
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN rejection ON rejection.batch_id = batch.id AND rejection.detail LIKE 'cold: %'
    JOIN kernel ON kernel.id = rejection.kernel_id
    JOIN entry ON entry.platform_id = platform.id AND entry.kernel_id = kernel.id
    WHERE platform.key = ? AND entry.cold_us IS NULL
    GROUP BY kernel.id HAVING count(*) >= ?
"""

REVISION = """
    SELECT coalesce((SELECT max(batch.id) FROM batch WHERE batch.platform_id = platform.id), 0),
           coalesce((SELECT max(fact.id) FROM platform_fact AS fact
                     WHERE fact.platform_id = platform.id), 0)
    FROM platform WHERE key = ?
"""

COUNTS = """
    WITH here AS (
        SELECT batch.id FROM batch JOIN platform ON platform.id = batch.platform_id
        WHERE platform.key = :key
    )
    SELECT
        (SELECT count(*) FROM entry JOIN platform ON platform.id = entry.platform_id
         WHERE platform.key = :key),
        (SELECT count(*) FROM measurement WHERE batch_id IN here),
        (SELECT count(*) FROM rejection WHERE batch_id IN here),
        (SELECT count(*) FROM network_measurement WHERE batch_id IN here),
        (SELECT count(*) FROM here),
        (SELECT count(*) FROM imported JOIN platform ON platform.id = imported.platform_id
         WHERE platform.key = :key)
"""

NETWORKS = """
    SELECT network.sha256, network.latency_us, network.relative_error, batch.id, batch.host_time
    FROM platform
    JOIN batch ON batch.platform_id = platform.id
    JOIN network_measurement AS network ON network.batch_id = batch.id
    WHERE platform.key = :key AND (:sha256 IS NULL OR network.sha256 = :sha256)
    ORDER BY network.id
"""

# SQLite takes the bare columns of an aggregate with max() from the row that has the maximum.
_FACTS = """
    SELECT fact.name, fact.value, fact.host_time, fact.evidence, max(fact.id)
    FROM platform JOIN platform_fact AS fact ON fact.platform_id = platform.id
    WHERE platform.key = ? GROUP BY fact.name ORDER BY fact.name
"""


def own_null_time(database: Database, platform: Platform) -> NullTime | None:
    """Median of the null times subtracted from the platform's own entries."""
    return _median_null(database.execute(_NULLS, (platform.key,)).fetchall())


def null_time(database: Database, platform: Platform) -> NullTime | None:
    """The same; where there are no own entries, over what was imported."""
    own = own_null_time(database, platform)
    if own is not None:
        return own
    return _median_null(database.execute(_IMPORTED_NULLS, (platform.key,)).fetchall())


def _median_null(nulls: Sequence[Sequence[float]]) -> NullTime | None:
    if not nulls:
        return None
    return NullTime(*(statistics.median(column) for column in zip(*nulls, strict=True)))


def facts(database: Database, platform: Platform) -> dict[str, Fact]:
    found = database.execute(_FACTS, (platform.key,))
    return {name: Fact(value, at, json.loads(why)) for name, value, at, why, _ in found}


def has_own_entry(database: Database, platform: Platform, kernel: Kernel) -> bool:
    """Whether the platform has an entry that was measured here."""
    found = database.execute(
        "SELECT 1 FROM entry JOIN platform ON platform.id = entry.platform_id"
        " JOIN kernel ON kernel.id = entry.kernel_id WHERE platform.key = ? AND kernel.key = ?",
        (platform.key, kernel.key),
    )
    return found.fetchone() is not None
