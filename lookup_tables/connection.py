"""Opening a table file, its one kind of write transaction, and its errors in plain words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlite_utils import Database

from lookup_tables.migrations import VERSION, SchemaError, check, migrate, version_of

__all__ = ["Connection", "TableError", "TableFullError", "TableLockedError"]

# Writers hold the file for milliseconds at a time; one that waits this long waits for a stuck one.
BUSY_TIMEOUT_S = 30.0

# SQLite answers "locked" at once, whatever the timeout, when two processes turn WAL on together.
WAL_RETRY_S = 0.05

Sleep = Callable[[float], None]


class TableError(Exception):
    """A table file that cannot be read or written; the message names the file and the fault."""


class TableLockedError(TableError):
    """Another process holds the file for longer than the timeout."""


class TableFullError(TableError):
    """There is no space for another row; what was recorded before is intact."""


_EXPLANATIONS: dict[int, tuple[type[TableError], str]] = {
    sqlite3.SQLITE_NOTADB: (TableError, "is not a lookup table (nor any SQLite file)"),
    sqlite3.SQLITE_CORRUPT: (TableError, "is damaged; restore it from a copy or start a new one"),
    sqlite3.SQLITE_READONLY: (TableError, "may not be written to; check its permissions"),
    sqlite3.SQLITE_CANTOPEN: (TableError, "cannot be opened; check that its folder exists"),
    sqlite3.SQLITE_IOERR: (TableError, "cannot be read or written: the disk reports an error"),
    sqlite3.SQLITE_PERM: (TableError, "may not be opened; check its permissions"),
    sqlite3.SQLITE_FULL: (
        TableFullError,
        "cannot grow: the disk is full; free some space",
    ),
    sqlite3.SQLITE_BUSY: (TableLockedError, "is locked by another process"),
    sqlite3.SQLITE_LOCKED: (TableLockedError, "is locked by another process"),
    sqlite3.SQLITE_CONSTRAINT: (TableError, "refuses a value"),
}

# Extended result codes carry the primary one in their low byte.
_PRIMARY_CODE = 0xFF


class Connection:
    """One process's link to a table file: WAL, synchronous=FULL, foreign keys on.

    Belongs to the thread that made it. Raises TableError where the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.path = path
        with self.plain_errors():
            raw = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            with self.plain_errors():
                self._prepare(raw, round(busy_timeout_s / WAL_RETRY_S), sleep)
        except BaseException:
            raw.close()
            raise

    def _prepare(self, raw: sqlite3.Connection, wal_attempts: int, sleep: Sleep) -> None:
        # Plugins of sqlite-utils are other people's code and have no business in a table.
        self.database = Database(raw, recursive_triggers=True, execute_plugins=False)
        check(self.database)
        _turn_wal_on(raw, wal_attempts, sleep)
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = ON")
        if version_of(self.database) < VERSION:
            with self.write() as database:
                migrate(database)

    @contextmanager
    def write(self) -> Iterator[Database]:
        """The one place that opens a write transaction.

        BEGIN IMMEDIATE takes the write lock before anything is read, so what a transaction reads
        stays true until it commits; a plain BEGIN fails with "busy" instead, at the first write
        after another process has written.
        """
        with self.plain_errors():
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.conn.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[Database]:
        """The database for queries and for making values of what they give.

        Each single query sees one moment.
        """
        with self.plain_errors():
            try:
                yield self.database
            except ValueError as error:
                raise TableError(f"{self.path} holds what no version writes ({error})") from error

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn what SQLite and the schema say into TableError."""
        try:
            yield
        except SchemaError as error:
            raise TableError(f"{self.path} {error}") from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
            kind, explanation = _EXPLANATIONS.get(code, (TableError, "cannot be used"))
            raise kind(f"{self.path} {explanation} ({error})") from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self.database.conn.close()


def _turn_wal_on(raw: sqlite3.Connection, attempts: int, sleep: Sleep) -> None:
    for remaining in range(attempts, -1, -1):
        try:
            raw.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not busy or remaining == 0:
                raise
            sleep(WAL_RETRY_S)
