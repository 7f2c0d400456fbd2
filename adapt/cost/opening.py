"""Table files, with the errors of this program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapt.errors import Busy, TableError
from lookup_tables import connection
from lookup_tables.store import Store

__all__ = ["open_table", "table_errors"]


@contextmanager
def table_errors() -> Iterator[None]:
    """Turn the table library's errors into those of this program, with what to do."""
    try:
        yield
    except connection.TableLockedError as error:
        raise Busy(str(error), "Wait for the other process to end, or stop it.") from error
    except connection.TableFullError as error:
        raise TableError(
            str(error), "What was recorded is safe. Make room and resume the job."
        ) from error
    except connection.TableError as error:
        raise TableError(str(error), "Name another table file, or mend this one.") from error


def open_table(path: Path) -> Store:
    """The table file at `path`, made if there is none; TableError or Busy where it is unusable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TableError(
            f"no table can be kept in {path.parent}: {error.strerror}", "Name another folder."
        ) from error
    with table_errors():
        return Store(path)
