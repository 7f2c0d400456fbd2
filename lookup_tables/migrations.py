"""The schema of a table file, version by version.

A file records its version in PRAGMA user_version, and that it is a lookup table at all in PRAGMA
application_id. Each migration takes a file from the version before to its own; released ones are
never edited. A file written by a newer version is refused: to open it could lose what it says.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database

__all__ = ["APPLICATION_ID", "VERSION", "check", "migrate", "version_of"]

# "ADTB" in ASCII: what `file` and a wrong path are recognised by.
APPLICATION_ID = 0x41445442

_Migration = Callable[[Database], None]
_MIGRATIONS: list[_Migration] = []


class SchemaError(Exception):
    """The file is not a lookup table, or one of a newer version; the message says which."""


def _migration(version: int) -> Callable[[_Migration], _Migration]:
    """Register the step from `version` - 1 to `version`; steps stand in order in this file."""

    def register(step: _Migration) -> _Migration:
        if version != len(_MIGRATIONS) + 1:
            raise AssertionError(f"migration {version} is out of order")
        _MIGRATIONS.append(step)
        return step

    return register


def version_of(database: Database) -> int:
    """Version that the file was written with; 0 for an empty one."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def check(database: Database) -> None:
    """Raise SchemaError unless `database` is empty or a lookup table that this code can open."""
    application = int(database.execute("PRAGMA application_id").fetchone()[0])
    empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not (empty and application == 0):
        raise SchemaError("is a SQLite file of some other program, not a lookup table")
    version = version_of(database)
    if version > VERSION:
        raise SchemaError(
            f"was written by a newer version of this program (schema {version};"
            f" this one knows up to {VERSION})"
        )


def migrate(database: Database) -> None:
    """Bring `database` to VERSION. The caller holds the write transaction."""
    check(database)
    for step in _MIGRATIONS[version_of(database) :]:
        step(database)
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {VERSION}")


def _run(database: Database, statements: str) -> None:
    """Run statements separated by blank lines, inside the open transaction."""
    for statement in statements.strip().split("\n\n"):
        database.execute(statement)


def _append_only(database: Database, table: str) -> None:
    for verb in ("UPDATE", "DELETE"):
        database.execute(
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )


# SQLite keeps NaN as NULL, so NOT NULL refuses NaN; the CHECKs refuse infinity, zero and negatives.
_V1_TABLES = """
CREATE TABLE platform (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE CHECK (length(key) = 32),
    text TEXT NOT NULL CHECK (json_valid(text))
) STRICT

CREATE TABLE kernel (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE CHECK (length(key) = 32),
    op TEXT NOT NULL,
    dtype TEXT NOT NULL,
    text TEXT NOT NULL CHECK (length(text) > 0)
) STRICT

CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    host_time REAL NOT NULL,
    wall_ms REAL NOT NULL CHECK (wall_ms >= 0 AND wall_ms < 1e12),
    before TEXT NOT NULL CHECK (json_valid(before)),
    after TEXT NOT NULL CHECK (json_valid(after)),
    facts TEXT NOT NULL CHECK (json_valid(facts))
) STRICT

CREATE INDEX batch_platform ON batch (platform_id)

CREATE TABLE null_measurement (
    batch_id INTEGER PRIMARY KEY REFERENCES batch (id),
    windows TEXT NOT NULL CHECK (json_valid(windows)),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9)
) STRICT

CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    windows TEXT NOT NULL CHECK (json_valid(windows)),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9),
    null_us REAL NOT NULL CHECK (null_us > 0 AND null_us < 1e9),
    null_error REAL NOT NULL CHECK (null_error >= 0 AND null_error < 1e9),
    nodes INTEGER NOT NULL CHECK (nodes >= 0),
    delegated INTEGER NOT NULL CHECK (delegated BETWEEN 0 AND nodes),
    UNIQUE (batch_id, kernel_id)
) STRICT

CREATE TABLE entry (
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    measurement_id INTEGER NOT NULL UNIQUE REFERENCES measurement (id),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9),
    PRIMARY KEY (platform_id, kernel_id)
) STRICT, WITHOUT ROWID

CREATE TABLE rejection (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    reason TEXT NOT NULL CHECK (length(reason) > 0),
    poisonous INTEGER NOT NULL CHECK (poisonous IN (0, 1)),
    detail TEXT NOT NULL,
    windows TEXT NOT NULL CHECK (json_valid(windows))
) STRICT

CREATE INDEX rejection_batch ON rejection (batch_id)

CREATE TABLE network_measurement (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch (id),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    windows TEXT NOT NULL CHECK (json_valid(windows)),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9),
    nodes INTEGER NOT NULL CHECK (nodes >= 0),
    delegated INTEGER NOT NULL CHECK (delegated BETWEEN 0 AND nodes)
) STRICT

CREATE INDEX network_measurement_batch ON network_measurement (batch_id)
"""


@_migration(1)
def create_tables(database: Database) -> None:
    """Version 1: the first one."""
    _run(database, _V1_TABLES)
    for table in ("batch", "null_measurement", "measurement", "rejection", "network_measurement"):
        _append_only(database, table)


# What others measured, kept beside this file's own measurements and never mixed with them.
_V2_TABLES = """
CREATE TABLE imported (
    id INTEGER PRIMARY KEY,
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    source TEXT NOT NULL CHECK (length(source) > 0),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9),
    null_us REAL NOT NULL CHECK (null_us > 0 AND null_us < 1e9),
    measured_at REAL NOT NULL,
    imported_at REAL NOT NULL,
    UNIQUE (platform_id, kernel_id, source, measured_at, latency_us)
) STRICT
"""


@_migration(2)
def create_imported(database: Database) -> None:
    """Version 2: entries that came from another table."""
    _run(database, _V2_TABLES)
    _append_only(database, "imported")


# Cold: with the weights out of the cache. `value` of a fact is in the unit that its name ends with.
_V3_TABLES = """
CREATE TABLE cold_measurement (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    copies INTEGER NOT NULL CHECK (copies > 1),
    one_windows TEXT NOT NULL CHECK (json_valid(one_windows)),
    all_windows TEXT NOT NULL CHECK (json_valid(all_windows)),
    latency_us REAL NOT NULL CHECK (latency_us > 0 AND latency_us < 1e9),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e9),
    nodes INTEGER NOT NULL CHECK (nodes >= 0),
    delegated INTEGER NOT NULL CHECK (delegated BETWEEN 0 AND nodes),
    UNIQUE (batch_id, kernel_id)
) STRICT

ALTER TABLE entry ADD COLUMN cold_measurement_id INTEGER REFERENCES cold_measurement (id)

ALTER TABLE entry ADD COLUMN cold_us REAL CHECK (cold_us > 0 AND cold_us < 1e9)

CREATE TABLE platform_fact (
    id INTEGER PRIMARY KEY,
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    name TEXT NOT NULL CHECK (length(name) > 0),
    value REAL NOT NULL CHECK (abs(value) < 1e18),
    host_time REAL NOT NULL,
    evidence TEXT NOT NULL CHECK (json_valid(evidence))
) STRICT

CREATE INDEX platform_fact_platform ON platform_fact (platform_id, name)
"""


@_migration(3)
def add_cold_times_and_facts(database: Database) -> None:
    """Version 3: times with cold weights beside the hot ones, and what was learnt of platforms."""
    _run(database, _V3_TABLES)
    for table in ("cold_measurement", "platform_fact"):
        _append_only(database, table)


# `op` and `dtype` of a drift are empty where it is one of all kernels. `since` is when the first
# measurement that shows it began: entries from before are not to be trusted.
_V4_TABLES = """
CREATE TABLE kernel_usage (
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    uses INTEGER NOT NULL CHECK (uses > 0),
    last_used REAL NOT NULL,
    PRIMARY KEY (platform_id, kernel_id)
) STRICT, WITHOUT ROWID

CREATE TABLE drift (
    id INTEGER PRIMARY KEY,
    platform_id INTEGER NOT NULL REFERENCES platform (id),
    op TEXT NOT NULL,
    dtype TEXT NOT NULL CHECK ((op = '') = (dtype = '')),
    ratio REAL NOT NULL CHECK (ratio > 0 AND ratio < 1e9),
    since REAL NOT NULL,
    evidence TEXT NOT NULL CHECK (json_valid(evidence))
) STRICT

CREATE INDEX drift_platform ON drift (platform_id)
"""


@_migration(4)
def add_uses_and_drifts(database: Database) -> None:
    """Version 4: what refreshing a table goes by, the uses of kernels and the drifts noticed."""
    _run(database, _V4_TABLES)
    _append_only(database, "drift")


# What a meter told, raw: used during a run of seconds, the power of the rests around it, and the
# standard uncertainty of one inference. `kernel_uj` is the kernel's own: less idle power, less the
# null op, whose energy stands beside it as its time does.
_METER_COLUMNS = """meter TEXT NOT NULL CHECK (length(meter) > 0),
    run_uj REAL NOT NULL CHECK (run_uj > 0 AND run_uj < 1e15),
    run_ms REAL NOT NULL CHECK (run_ms > 0 AND run_ms < 1e9),
    invokes INTEGER NOT NULL CHECK (invokes > 0),
    idle_before_mw REAL NOT NULL CHECK (idle_before_mw >= 0 AND idle_before_mw < 1e9),
    idle_after_mw REAL NOT NULL CHECK (idle_after_mw >= 0 AND idle_after_mw < 1e9),
    error_uj REAL NOT NULL CHECK (error_uj >= 0 AND error_uj < 1e15)"""

_V5_TABLES = f"""
CREATE TABLE null_energy (
    batch_id INTEGER PRIMARY KEY REFERENCES batch (id),
    {_METER_COLUMNS}
) STRICT

CREATE TABLE energy_measurement (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES batch (id),
    kernel_id INTEGER NOT NULL REFERENCES kernel (id),
    {_METER_COLUMNS},
    null_uj REAL NOT NULL CHECK (null_uj > 0 AND null_uj < 1e15),
    null_error_uj REAL NOT NULL CHECK (null_error_uj >= 0 AND null_error_uj < 1e15),
    kernel_uj REAL NOT NULL CHECK (kernel_uj > 0 AND kernel_uj < 1e15),
    relative_error REAL NOT NULL CHECK (relative_error >= 0 AND relative_error < 1e18),
    UNIQUE (batch_id, kernel_id)
) STRICT

ALTER TABLE entry ADD COLUMN energy_measurement_id INTEGER REFERENCES energy_measurement (id)

ALTER TABLE entry ADD COLUMN energy_uj REAL CHECK (energy_uj > 0 AND energy_uj < 1e15)

ALTER TABLE imported ADD COLUMN energy_uj REAL CHECK (energy_uj > 0 AND energy_uj < 1e15)

ALTER TABLE imported ADD COLUMN energy_error REAL CHECK (energy_error >= 0 AND energy_error < 1e18)

ALTER TABLE imported ADD COLUMN energy_meter TEXT
    CHECK ((energy_meter IS NULL) = (energy_uj IS NULL)
           AND (energy_meter IS NULL) = (energy_error IS NULL))
"""


@_migration(5)
def add_energy(database: Database) -> None:
    """Version 5: the energy of kernels, where a meter told it."""
    _run(database, _V5_TABLES)
    for table in ("null_energy", "energy_measurement"):
        _append_only(database, table)


# Cold times of others. They came with the hot ones beside them, of the same device.
_V6_COLUMNS = """
ALTER TABLE imported ADD COLUMN cold_us REAL CHECK (cold_us > 0 AND cold_us < 1e9)

ALTER TABLE imported ADD COLUMN cold_error REAL
    CHECK (cold_error >= 0 AND cold_error < 1e9 AND (cold_error IS NULL) = (cold_us IS NULL))
"""


@_migration(6)
def add_cold_times_to_imports(database: Database) -> None:
    """Version 6: cold times that came from another table."""
    _run(database, _V6_COLUMNS)


VERSION = len(_MIGRATIONS)
