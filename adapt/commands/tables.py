"""`adapt tables`: what the lookup tables hold, and moving entries between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.terminal import (
    columns,
    date,
    json_text,
    percent,
    short_key,
    table_file,
)

if TYPE_CHECKING:
    from lookup_tables.survey import Summary

__all__ = ["file_option", "inherited", "json_option", "platform_option", "tables"]

_Command = Callable[..., Any]

# Names of other facts name operators, in capitals.
_OF_THE_PLATFORM = re.compile("[a-z0-9_]+")


def file_option(command: _Command) -> _Command:
    """The table file."""
    return click.option("--tables", "file", type=click.Path(path_type=Path), help="Table file.")(
        command
    )


def json_option(command: _Command) -> _Command:
    """Whether to print JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def platform_option(command: _Command) -> _Command:
    """One platform of the file."""
    return click.option(
        "--platform", metavar="KEY", help="Only this platform: its key, or how that begins."
    )(command)


@click.group(invoke_without_command=True)
@file_option
@json_option
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
    click.echo(_summaries_text(found))


def _summaries_text(found: list[Summary]) -> str:
    head = ("key", "entries", "cold", "imported", "measured", "rejected", "batches")
    rows: list[tuple[str, ...]] = [(*head, "oldest", "newest", "median error", "platform")]
    for summary in found:
        counts = summary.counts
        numbers = (counts.entries, summary.cold, counts.imported, counts.measurements)
        rows.append(
            (
                short_key(summary.platform),
                *map(str, (*numbers, counts.rejections, counts.batches)),
                date(summary.oldest),
                date(summary.newest),
                percent(summary.median_error),
                str(summary.platform),
            )
        )
    facts = [("learnt of", "fact", "value", "date")]
    facts += [row for summary in found for row in _fact_rows(summary)]
    listed = columns(rows, left=(0, 10))
    return f"{listed}\n\n{columns(facts, left=(0, 1))}" if len(facts) > 1 else listed


def _fact_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Facts of the platform as a whole, and how many there are of kinds of operators."""
    key = short_key(summary.platform)
    rows = []
    of_operators = []
    for name, fact in summary.facts.items():
        if _OF_THE_PLATFORM.fullmatch(name):
            rows.append((key, name, f"{fact.value:,.10g}", date(fact.learnt_at)))
        else:
            of_operators.append(fact.learnt_at)
    if of_operators:
        count = f"{len(of_operators)} facts"
        rows.append((key, "of kinds of operators", count, date(max(of_operators))))
    return rows


def inherited(context: click.Context, file: Path | None, as_json: bool) -> tuple[Path, bool]:
    """Options of a subcommand, which may also stand before its name."""
    outer_file, outer_json = context.obj
    return table_file(file or outer_file), as_json or outer_json


@tables.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@platform_option
@file_option
@click.pass_context
def export(context: click.Context, target: Path, platform: str | None, file: Path | None) -> None:
    """Write entries and imports to FILE: Parquet if it ends in .parquet, else CSV; - for stdout."""
    from adapt.tables import existing_table, export_table, export_text

    path, _ = inherited(context, file, False)
    with existing_table(path) as store:
        if str(target) == "-":
            click.echo(export_text(store, platform), nl=False)
            return
        count = export_table(store, platform, target)
    click.echo(f"{count} rows written to {target}")


@tables.command(name="import")
@click.argument("rows", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--source", help="Name of who measured it.  [default: the file's name]")
@file_option
@json_option
@click.pass_context
def import_(
    context: click.Context, rows: Path, source: str | None, file: Path | None, as_json: bool
) -> None:
    """Merge FILE, of `adapt tables export`, into a table. All of it or nothing."""
    from adapt.tables import import_table

    path, as_json = inherited(context, file, as_json)
    done = import_table(path, rows, source)
    if as_json:
        click.echo(json_text(asdict(done)))
        return
    click.echo(
        f"{done.added} rows imported into {path}, {done.known} were there already;"
        f" {done.beside_own} stand beside measurements of this table, which stay its answers"
    )


@tables.command()
@file_option
@click.pass_context
def verify(context: click.Context, file: Path | None) -> None:
    """Check a table file; exit code 6 where anything is wrong with it."""
    from adapt.tables import check_table, existing_table

    path, _ = inherited(context, file, False)
    with existing_table(path) as store:
        check_table(store)
    click.echo(f"{path} is sound")
