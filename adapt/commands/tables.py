"""`adapt tables`: what the lookup tables hold, and moving entries between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.terminal import (
    KEY_DIGITS,
    UNKNOWN,
    columns,
    date,
    json_text,
    percent,
    table_file,
    us,
)

if TYPE_CHECKING:
    from lookup_tables.kernel import Kernel, Platform
    from lookup_tables.records import Entry
    from lookup_tables.store import Store
    from lookup_tables.survey import Observation

__all__ = ["tables"]

_Command = Callable[..., Any]


def _file_option(command: _Command) -> _Command:
    return click.option("--tables", "file", type=click.Path(path_type=Path), help="Table file.")(
        command
    )


def _json_option(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _platform_option(command: _Command) -> _Command:
    return click.option(
        "--platform", metavar="KEY", help="Only this platform: its key, or how that begins."
    )(command)


@click.group(invoke_without_command=True)
@_file_option
@_json_option
@click.pass_context
def tables(context: click.Context, file: Path | None, as_json: bool) -> None:
    """List the platforms of the lookup tables, or look into them."""
    context.obj = (file, as_json)
    if context.invoked_subcommand is not None:
        return
    from adapt.tables import existing_table
    from lookup_tables.survey import summaries

    with existing_table(table_file(file)) as store:
        found = summaries(store)
    if as_json:
        click.echo(json_text([{"key": each.platform.key, **asdict(each)} for each in found]))
        return
    head = ("key", "entries", "imported", "measured", "rejected", "batches", "oldest", "newest")
    rows: list[tuple[str, ...]] = [(*head, "median error", "platform")]
    for summary in found:
        counts = summary.counts
        numbers = (counts.entries, counts.imported, counts.measurements, counts.rejections)
        rows.append(
            (
                summary.platform.key[:KEY_DIGITS],
                *map(str, (*numbers, counts.batches)),
                date(summary.oldest),
                date(summary.newest),
                percent(summary.median_error),
                str(summary.platform),
            )
        )
    click.echo(columns(rows, left=(0, 9)))


def _inherited(context: click.Context, file: Path | None, as_json: bool) -> tuple[Path, bool]:
    """Options of a subcommand, which may also stand before its name."""
    outer_file, outer_json = context.obj
    return table_file(file or outer_file), as_json or outer_json


@tables.command()
@click.argument("kernel", required=False)
@_platform_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Entries of each platform.",
)
@_file_option
@_json_option
@click.pass_context
def show(
    context: click.Context,
    kernel: str | None,
    platform: str | None,
    limit: int,
    file: Path | None,
    as_json: bool,
) -> None:
    """Show the entries that cost most, or how KERNEL, a key or a text, was measured."""
    from adapt.tables import existing_table, find_kernel, find_platforms

    path, as_json = _inherited(context, file, as_json)
    with existing_table(path) as store:
        platforms = find_platforms(store, platform)
        if kernel is None:
            _show_entries(store, platforms, limit, as_json)
        else:
            _show_kernel(store, platforms, find_kernel(store, kernel), as_json)


def _show_entries(store: Store, platforms: list[Platform], limit: int, as_json: bool) -> None:
    found: list[tuple[Platform, list[tuple[Kernel, Entry]]]] = []
    for platform in platforms:
        own = store.entries(platform).items()
        found.append((platform, sorted(own, key=lambda e: (-e[1].latency_us, e[0].text))))
    if as_json:
        click.echo(
            json_text(
                [
                    {
                        "key": platform.key,
                        "platform": asdict(platform),
                        "entries": [
                            {"key": kernel.key, "kernel": kernel.text, **asdict(entry)}
                            for kernel, entry in entries[:limit]
                        ],
                    }
                    for platform, entries in found
                ]
            )
        )
        return
    for platform, entries in found:
        click.echo(f"{platform.key[:KEY_DIGITS]}  {platform}: {len(entries)} entries")
        rows = [("key", "us", "error", "date", "source", "kernel")]
        rows += [
            (
                kernel.key[:KEY_DIGITS],
                us(entry.latency_us),
                percent(entry.relative_error),
                date(entry.measured_at),
                entry.source or "measured",
                kernel.text,
            )
            for kernel, entry in entries[:limit]
        ]
        click.echo(columns(rows, left=(0, 4, 5)))


def _show_kernel(store: Store, platforms: list[Platform], kernel: Kernel, as_json: bool) -> None:
    from lookup_tables.survey import history

    found = [(platform, history(store, platform, kernel)) for platform in platforms]
    found = [(platform, seen) for platform, seen in found if seen]
    if as_json:
        histories = [
            {
                "key": platform.key,
                "platform": asdict(platform),
                "history": [asdict(observation) for observation in seen],
            }
            for platform, seen in found
        ]
        click.echo(json_text({"key": kernel.key, "kernel": kernel.text, "platforms": histories}))
        return
    click.echo(f"{kernel.key}  {kernel}")
    if not found:
        click.echo("never measured")
    for platform, seen in found:
        head = ("", "date", "us", "error", "null us", "", "")
        click.echo(f"on {platform.key[:KEY_DIGITS]}  {platform}")
        click.echo(columns([head, *map(_observation_row, seen)], left=(5, 6)))


def _observation_row(seen: Observation) -> tuple[str, ...]:
    return (
        "*" if seen.answers else "",
        date(seen.at),
        us(seen.latency_us),
        percent(seen.relative_error),
        UNKNOWN if seen.null_us is None else f"{seen.null_us:.3f}",
        seen.fate.value,
        seen.detail,
    )


@tables.command()
@click.argument("csv", type=click.Path(path_type=Path, allow_dash=True))
@_platform_option
@_file_option
@click.pass_context
def export(context: click.Context, csv: Path, platform: str | None, file: Path | None) -> None:
    """Write entries and imports to the file CSV, or to stdout for -."""
    from adapt.tables import existing_table, export_table

    path, _ = _inherited(context, file, False)
    with existing_table(path) as store:
        text, count = export_table(store, platform)
    if str(csv) == "-":
        click.echo(text, nl=False)
        return
    beside = csv.with_name(f"{csv.name}.part")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(csv)
    finally:
        beside.unlink(missing_ok=True)
    click.echo(f"{count} rows written to {csv}")


@tables.command(name="import")
@click.argument("csv", type=click.Path(path_type=Path))
@click.option("--source", help="Name of who measured it.  [default: the file's name]")
@_file_option
@_json_option
@click.pass_context
def import_(
    context: click.Context, csv: Path, source: str | None, file: Path | None, as_json: bool
) -> None:
    """Merge the file CSV, of `adapt tables export`, into a table. All of it or nothing."""
    from adapt.tables import import_table

    path, as_json = _inherited(context, file, as_json)
    done = import_table(path, csv, source)
    if as_json:
        click.echo(json_text(asdict(done)))
        return
    click.echo(
        f"{done.added} rows imported into {path}, {done.known} were there already;"
        f" {done.beside_own} stand beside measurements of this table, which stay its answers"
    )


@tables.command()
@_file_option
@click.pass_context
def verify(context: click.Context, file: Path | None) -> None:
    """Check a table file; exit code 6 where anything is wrong with it."""
    from adapt.tables import check_table, existing_table

    path, _ = _inherited(context, file, False)
    with existing_table(path) as store:
        check_table(store)
    click.echo(f"{path} is sound")
