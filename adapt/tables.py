"""Looking into table files and moving them, with the errors of this program."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapt.cost.table import open_table, table_errors
from adapt.errors import InputError, TableError, UsageError
from lookup_tables import checks, exchange, row_files, survey
from lookup_tables.families import member
from lookup_tables.kernel import Kernel, Platform, TextError
from lookup_tables.parquet import ParquetUnavailable
from lookup_tables.store import Store

__all__ = [
    "check_table",
    "existing_table",
    "export_table",
    "export_text",
    "find_axis",
    "find_kernel",
    "find_platforms",
    "import_table",
    "replacing",
    "stored_platform",
]

_KEY = re.compile("[0-9a-f]{4,32}")

# Digits of a key that are shown: enough to tell the platforms of any real table apart.
_KEY_DIGITS = 12

# Of an ambiguous key, and of what is wrong with a file: more lines help nobody.
_SHOWN = 20


@contextmanager
def existing_table(path: Path) -> Iterator[Store]:
    """The table file at `path`; TableError where there is none."""
    if not path.exists():
        raise TableError(
            f"there is no table file {path}",
            "`adapt run`, `adapt predict` and `adapt tables import` make one.",
        )
    with open_table(path) as store, table_errors():
        yield store


def find_platforms(store: Store, key: str | None) -> list[Platform]:
    """The platform whose key begins with `key`, or all; UsageError where that is not one."""
    platforms = store.platforms()
    if key is None:
        return platforms
    found = [platform for platform in platforms if platform.key.startswith(key)]
    if not key or len(found) != 1:
        raise UsageError(
            f"{len(found)} platforms have a key that begins with {key!r}",
            "`adapt tables` lists them.",
        )
    return found


@contextmanager
def stored_platform(path: Path, key: str | None) -> Iterator[tuple[Store, Platform] | None]:
    """The one platform of the table file at `path`, or that whose key begins with `key`.

    None where nothing was measured: there is no file, or no platform in it. UsageError where it
    holds several and `key` does not choose one.
    """
    if key is None and not path.exists():
        yield None
        return
    with existing_table(path) as store:
        platforms = find_platforms(store, key)
        if len(platforms) > 1:
            several = "\n  ".join(
                f"--platform {each.key[:_KEY_DIGITS]}  {each}" for each in platforms
            )
            raise UsageError(f"{path} holds {len(platforms)} platforms; choose one of", several)
        yield (store, platforms[0]) if platforms else None


def find_kernel(store: Store, name: str) -> Kernel:
    """The kernel with this canonical text, or whose key begins so; UsageError where it is none."""
    if not _KEY.fullmatch(name):
        try:
            return Kernel.parse(name)
        except TextError as error:
            raise UsageError(
                str(error), "Give a kernel's text, or its key: `adapt tables show` lists them."
            ) from error
    found = survey.find_kernels(store, name, _SHOWN + 1)
    if not found:
        raise UsageError(
            f"no kernel of this table has a key that begins with {name}",
            "`adapt tables show` lists them.",
        )
    if len(found) > 1:
        several = "\n  ".join(f"{kernel.key}  {kernel}" for kernel in found[:_SHOWN])
        raise UsageError(f"several kernels have a key that begins with {name}", several)
    return found[0]


def find_axis(kernel: Kernel, name: str) -> int:
    """The number of the axis of channels called `name`; UsageError where the kernel has none."""
    found = member(kernel)
    if found is None:
        raise UsageError(f"nobody knows what the channels of {kernel.op} are", f"It is {kernel}.")
    names = [axis.name for axis in found.family.axes]
    if name not in names:
        raise UsageError(
            f"{kernel.op} has no axis {name}", f"Its axes of channels are: {', '.join(names)}."
        )
    return names.index(name)


def export_text(store: Store, platform: str | None) -> str:
    """The table as CSV, of the platform whose key begins with `platform` or of all."""
    text = io.StringIO(newline="")
    row_files.write(_exported(store, platform), text)
    return text.getvalue()


def export_table(store: Store, platform: str | None, target: Path) -> int:
    """Write the same to the file `target`, as Parquet where its name ends so; the number of rows.

    What was in the file stays there until all is written.
    """
    found = _exported(store, platform)
    with replacing(target) as beside, _formats():
        return row_files.write_file(found, beside, as_parquet=row_files.is_parquet(target))


def _exported(store: Store, platform: str | None) -> list[exchange.Row]:
    chosen = find_platforms(store, platform)[0] if platform is not None else None
    return exchange.export_rows(store, chosen)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside `target`, whose file takes its place at the end."""
    beside = target.with_name(f"{target.name}.part")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _formats() -> Iterator[None]:
    try:
        yield
    except ParquetUnavailable as error:
        raise UsageError(
            str(error), "`pip install 'adaptd[parquet]'`, or give a file name with .csv."
        ) from error


def import_table(path: Path, rows: Path, source: str | None) -> exchange.Imported:
    """Merge the file `rows` into the table file at `path`, made if there is none; all or nothing.

    `source` names rows that name none, by default the file's stem. InputError, with the line or row
    and column, where the file is not understood.
    """
    now = time.time()
    try:
        with _formats():
            source = rows.stem if source is None else source
            found = row_files.read_file(rows, source=source, now=now)
    except exchange.ExchangeError as error:
        raise InputError(
            f"{rows}: {error}", "Give a file of `adapt tables export`; nothing was imported."
        ) from error
    with open_table(path) as store, table_errors():
        return exchange.merge(store, found, now)


def check_table(store: Store) -> None:
    """TableError with everything that is wrong with the file, where anything is."""
    faults = checks.verify(store)
    if faults:
        shown = "\n  ".join(faults[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise TableError(
            f"{store.path} is not sound: {len(faults)} fault(s)\n  {shown}{more}",
            "Export what is good with `adapt tables export`, and import it into a new file.",
        )
