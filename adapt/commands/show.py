"""`adapt tables show`: entries, one kernel over time or over its channels, facts; as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.tables import file_option, inherited, json_option, platform_option
from adapt.commands.terminal import UNKNOWN, columns, date, json_text, percent, short_key, us
from adapt.errors import UsageError

if TYPE_CHECKING:
    from lookup_tables.kernel import Kernel, Platform
    from lookup_tables.records import Entry
    from lookup_tables.store import Store
    from lookup_tables.survey import Observation, Step

__all__ = ["show"]


@click.command()
@click.argument("kernel", required=False)
@click.option(
    "--axis",
    help="Other channel counts of KERNEL: in, out, channels, or first, second, ... for a join.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Also draw what is shown of KERNEL to this file, .png or .svg.",
)
@click.option("--facts", is_flag=True, help="What was learnt of each platform, with the evidence.")
@platform_option
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Entries of each platform.",
)
@file_option
@json_option
@click.pass_context
def show(
    context: click.Context,
    kernel: str | None,
    axis: str | None,
    plot: Path | None,
    facts: bool,
    platform: str | None,
    limit: int,
    file: Path | None,
    as_json: bool,
) -> None:
    """Show the entries that cost most, or how KERNEL, a key or a text, was measured."""
    from adapt.tables import existing_table, find_kernel, find_platforms

    _check(kernel, axis, plot, facts)
    path, as_json = inherited(context, file, as_json)
    with existing_table(path) as store:
        platforms = find_platforms(store, platform)
        if facts:
            _show_facts(store, platforms, as_json)
        elif kernel is None:
            _show_entries(store, platforms, limit, as_json)
        elif axis is None:
            _show_history(store, platforms, find_kernel(store, kernel), plot, as_json)
        else:
            _show_steps(store, platforms, find_kernel(store, kernel), axis, plot, as_json)


def _check(kernel: str | None, axis: str | None, plot: Path | None, facts: bool) -> None:
    """UsageError for options that do not go together, before anything is read."""
    if facts and (kernel or axis or plot):
        raise UsageError("--facts is about platforms", "Leave KERNEL, --axis and --plot out.")
    if kernel is None and (axis or plot):
        raise UsageError(
            f"{'--axis' if axis else '--plot'} needs a KERNEL", "`adapt tables show` lists them."
        )
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--plot {plot}: no picture format", "End the name in .png or .svg.")


def _show_entries(store: Store, platforms: Sequence[Platform], limit: int, as_json: bool) -> None:
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
        click.echo(f"{short_key(platform)}  {platform}: {len(entries)} entries")
        # Few devices have a meter.
        metered = any(entry.energy_meter for _, entry in entries[:limit])
        energy = ("uJ", "error", "meter") if metered else ()
        rows: list[tuple[str, ...]]
        rows = [("key", "us", "error", "cold us", "error", *energy, "date", "source", "kernel")]
        rows += [
            (
                short_key(kernel),
                us(entry.latency_us),
                percent(entry.relative_error),
                us(entry.cold_us),
                percent(entry.cold_error),
                *(_energy_cells(entry) if metered else ()),
                date(entry.measured_at),
                entry.source or "measured",
                kernel.text,
            )
            for kernel, entry in entries[:limit]
        ]
        width = len(rows[0])
        click.echo(columns(rows, left=(0, width - 2, width - 1)))


def _energy_cells(entry: Entry) -> tuple[str, str, str]:
    """What an entry has of energy; microjoules are shown like microseconds."""
    return us(entry.energy_uj), percent(entry.energy_error), entry.energy_meter or UNKNOWN


def _show_history(
    store: Store, platforms: Sequence[Platform], kernel: Kernel, plot: Path | None, as_json: bool
) -> None:
    from lookup_tables.survey import history

    found = {platform: history(store, platform, kernel) for platform in platforms}
    found = {platform: seen for platform, seen in found.items() if seen}
    if plot is not None:
        platform = _one(found, kernel)
        from adapt.table_plots import draw_history

        draw_history(plot, platform, kernel, found[platform])
    entries = {platform: store.entries(platform, [kernel]).get(kernel) for platform in found}
    energies = {platform: e for platform, e in entries.items() if e and e.energy_meter}
    if as_json:
        histories = [
            {
                "key": platform.key,
                "platform": asdict(platform),
                "history": [asdict(observation) for observation in seen],
                "energy": _energy_json(energies.get(platform)),
            }
            for platform, seen in found.items()
        ]
        click.echo(json_text({"key": kernel.key, "kernel": kernel.text, "platforms": histories}))
        return
    click.echo(f"{kernel.key}  {kernel}")
    if not found:
        click.echo("never measured")
    for platform, seen in found.items():
        head = ("", "date", "us", "error", "null us", "weights", "", "")
        click.echo(f"on {short_key(platform)}  {platform}")
        click.echo(columns([head, *map(_observation_row, seen)], left=(5, 6, 7)))
        if platform in energies:
            energy, error, meter = _energy_cells(energies[platform])
            click.echo(f"energy {energy} uJ +-{error} above idle power, by {meter}")


def _energy_json(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {name: getattr(entry, name) for name in ("energy_uj", "energy_error", "energy_meter")}


def _observation_row(seen: Observation) -> tuple[str, ...]:
    return (
        _mark(seen.answers),
        date(seen.at),
        us(seen.latency_us),
        percent(seen.relative_error),
        us(seen.null_us),
        "cold" if seen.cold else "hot",
        seen.fate.value,
        seen.detail,
    )


def _show_steps(
    store: Store,
    platforms: Sequence[Platform],
    kernel: Kernel,
    axis: str,
    plot: Path | None,
    as_json: bool,
) -> None:
    from adapt.tables import find_axis
    from lookup_tables.survey import steps

    number = find_axis(kernel, axis)
    found = {platform: steps(store, platform, kernel, number) for platform in platforms}
    found = {platform: seen for platform, seen in found.items() if seen}
    if plot is not None:
        platform = _one(found, kernel)
        from adapt.table_plots import draw_steps

        draw_steps(plot, platform, kernel, axis, found[platform])
    if as_json:
        staircases = [
            {
                "key": platform.key,
                "platform": asdict(platform),
                "steps": [_step_json(step) for step in seen],
            }
            for platform, seen in found.items()
        ]
        said = {"key": kernel.key, "kernel": kernel.text, "axis": axis, "platforms": staircases}
        click.echo(json_text(said))
        return
    click.echo(f"{kernel.key}  {kernel}")
    if not found:
        click.echo("never measured, nor any other of its family")
    for platform, seen in found.items():
        head = ("", axis, "us", "error", "cold us", "error", "date", "source", "key")
        click.echo(f"on {short_key(platform)}  {platform}")
        click.echo(columns([head, *map(_step_row, seen)], left=(7, 8)))


def _step_json(step: Step) -> dict[str, Any]:
    values = asdict(step.row)
    del values["platform"]
    return {
        **values,
        "channels": step.channels,
        "answers": step.answers,
        "key": step.row.kernel.key,
        "kernel": step.row.kernel.text,
    }


def _step_row(step: Step) -> tuple[str, ...]:
    row = step.row
    return (
        _mark(step.answers),
        str(step.channels),
        us(row.latency_us),
        percent(row.relative_error),
        us(row.cold_us),
        percent(row.cold_error),
        date(row.measured_at),
        row.source or "measured",
        short_key(row.kernel),
    )


def _mark(answers: bool) -> str:
    return "*" if answers else ""


def _one(found: Mapping[Platform, object], kernel: Kernel) -> Platform:
    """The platform to draw, since times of two do not compare; UsageError unless it is one."""
    if not found:
        raise UsageError(f"never measured: {kernel}", "There is nothing to draw.")
    if len(found) > 1:
        several = "\n  ".join(f"--platform {short_key(each)}  {each}" for each in found)
        raise UsageError("a picture is of one platform; choose one of", several)
    return next(iter(found))


def _show_facts(store: Store, platforms: Sequence[Platform], as_json: bool) -> None:
    found = {platform: store.facts(platform) for platform in platforms}
    if as_json:
        click.echo(
            json_text(
                [
                    {
                        "key": platform.key,
                        "platform": asdict(platform),
                        "facts": {name: asdict(fact) for name, fact in facts.items()},
                    }
                    for platform, facts in found.items()
                ]
            )
        )
        return
    for platform, facts in found.items():
        click.echo(f"{short_key(platform)}  {platform}: {len(facts)} facts")
        for name, fact in facts.items():
            click.echo(f"{name} = {fact.value:,.10g}, learnt on {date(fact.learnt_at)} from")
            click.echo(_evidence_text(fact.evidence))


def _evidence_text(evidence: Mapping[str, Any]) -> str:
    """Each part of the evidence in a line; a series of points in lines of its own."""
    lines = []
    for name, value in evidence.items():
        if isinstance(value, list) and value and all(isinstance(point, list) for point in value):
            lines.append(f"  {name}:")
            points = columns([[_figure(number) for number in point] for point in value])
            lines += [f"    {line}" for line in points.splitlines()]
        else:
            lines.append(f"  {name}: {_figure(value)}")
    return "\n".join(lines)


def _figure(value: Any) -> str:
    """A number as people write it, a list of such, anything else as in JSON."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.6g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_figure, value))}]"
    return json.dumps(value)
