"""`adapt refresh`: keeps the tables of a device fresh, for cron or a systemd timer."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.terminal import json_text, progress, short_key, table_file
from adapt.errors import Stale

if TYPE_CHECKING:
    from adapt.refresh import Night, PlatformNight
    from adapt.refresh.drift import Shift

__all__ = ["refresh"]

# Of kernels that could not be measured: more lines help nobody, and --json has them all.
_SHOWN = 5

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MAX_SECONDS = 3650 * 86_400.0


def _seconds(context: click.Context, option: click.Parameter, text: str) -> float:
    """A text such as 90s, 30m, 2h or 7d, as seconds."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text, re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 30m, 2h or 7d.")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _MAX_SECONDS:
        raise click.BadParameter(f"{text!r} is more than ten years.")
    return seconds


@click.command()
@click.option("--device", default="local", show_default=True, help="The device.")
@click.option(
    "--max-age",
    metavar="DURATION",
    callback=_seconds,
    default="7d",
    show_default=True,
    help="Entries older than this are measured anew: 90s, 30m, 2h, 7d.",
)
@click.option(
    "--time-limit",
    metavar="DURATION",
    callback=_seconds,
    default="30m",
    show_default=True,
    help="Begin no batch that would end later; what is left is for the next time.",
)
@click.option(
    "--agent-python",
    type=click.Path(path_type=Path),
    default=None,
    help="Python that runs the agent, for another runtime.",
)
@click.option("--tables", type=click.Path(path_type=Path), help="Table file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def refresh(
    device: str,
    max_age: float,
    time_limit: float,
    agent_python: Path | None,
    tables: Path | None,
    as_json: bool,
) -> None:
    """Keep the tables of a device fresh: find drifts, measure anew what is out of date."""
    from adapt.config import load_config
    from adapt.fleet.claim import claimed
    from adapt.refresh import refresh_tables
    from adapt.tables import existing_table

    python = agent_python.absolute() if agent_python else None
    with (
        existing_table(table_file(tables)) as store,
        claimed(device, home=load_config().home, agent_python=python) as opened,
        progress("measuring kernels anew") as show,
    ):
        night = refresh_tables(
            store, opened, max_age_s=max_age, time_limit_s=time_limit, on_progress=show
        )
    click.echo(json_text(_night_json(night)) if as_json else _night_text(night))
    if not night.fresh:
        raise Stale(
            f"the tables of {night.device} are not fresh: {', '.join(_faults(night))}",
            "Run `adapt refresh` again, with a longer --time-limit or when the device is quieter;"
            " it goes on from here.",
        )


def _faults(night: Night) -> list[str]:
    """Why the tables are not fresh."""
    counts = {
        "entries left out of date": sum(each.left for each in night.platforms),
        "kernels that could not be measured": sum(len(each.failed) for each in night.platforms),
        "platforms that may have drifted": sum(each.undecided for each in night.platforms),
        "facts not learnt anew": sum(len(each.unlearnt) for each in night.platforms),
        "energies left out of date": sum(each.metering.left for each in night.platforms),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def _night_text(night: Night) -> str:
    lines = [line for platform in night.platforms for line in _platform_lines(platform)]
    for lost in night.unreachable:
        lines.append(f"{short_key(lost.platform)}  {lost.platform}")
        lines.append(f"  not refreshed: {lost.why}")
    if not lines:
        lines.append(f"the table knows no platform of {night.device}: there is nothing to refresh")
    anew = sum(platform.measured_anew for platform in night.platforms)
    entries = sum(platform.entries for platform in night.platforms)
    drifted = sum(bool(platform.drifts) for platform in night.platforms)
    left = sum(platform.left for platform in night.platforms)
    lines.append(
        f"refresh of {night.device}: {'fresh' if night.fresh else 'NOT FRESH'};"
        f" {drifted} of {len(night.platforms)} platform(s) drifted, {anew} of {entries} entries"
        f" measured anew, {left} left out of date, in {night.seconds:.0f} s"
    )
    return "\n".join(lines)


def _platform_lines(night: PlatformNight) -> list[str]:
    lines = [f"{short_key(night.platform)}  {night.platform}"]
    if night.predecessor is not None:
        old = night.predecessor
        lines.append(
            f"  a new platform since the device was updated; its predecessor is kept:"
            f" {short_key(old)}, {old.runtime} {old.runtime_version}"
            f" [{old.runtime_build[:8]}], {old.os_build}"
        )
    lines += [f"  {line}" for line in _drift_lines(night)]
    parts = [f"{night.sentinels} sentinels"]
    parts += [f"{count} {cause}" for cause, count in sorted(night.measured.items())]
    lines.append(
        f"  measured anew {night.measured_anew} of {night.entries} entries: {', '.join(parts)};"
        f" {night.left} left out of date"
    )
    metering = night.metering
    if metering.measured or metering.left:
        lines.append(
            f"  energies: {metering.measured} measured anew, {metering.left} left out of date"
        )
    if metering.alone:
        lines.append(f"  energies: {metering.alone} out of date are left alone: {metering.why}")
    if night.quarantined:
        lines.append(f"  {night.quarantined} kernels brought the agent down and are not tried")
    for kernel, verdict in list(night.failed.items())[:_SHOWN]:
        lines.append(f"  not measured: {short_key(kernel)} {verdict.reason}: {verdict.detail}")
    if len(night.failed) > _SHOWN:
        lines.append(f"  not measured: {len(night.failed) - _SHOWN} more")
    if night.unlearnt:
        lines.append(f"  not learnt anew: {', '.join(night.unlearnt)}")
    return lines


def _drift_lines(night: PlatformNight) -> list[str]:
    if night.drifts:
        return [
            f"DRIFTED: {_scope(drift.op, drift.dtype)} {_change(drift.ratio)}"
            for drift in night.drifts
        ]
    if night.undecided:
        return ["whether it has drifted is not known: its sentinels could not be timed"]
    lines = []
    if night.shift is not None:
        lines.append(
            f"no drift: {_change(night.shift.ratio)} over {night.shift.sentinels} sentinels,"
            f" chance explains {math.expm1(night.shift.noise):.1%}"
        )
    if night.passing is not None:
        kind, shift = night.passing
        lines.append(f"for a moment {_scope(*(kind or ('', '')))} seemed {_change(shift.ratio)}")
    return lines


def _change(ratio: float) -> str:
    """How times have changed, for people."""
    return f"{abs(ratio - 1):.1%} {'slower' if ratio > 1 else 'faster'} (x{ratio:.3f})"


def _scope(op: str, dtype: str) -> str:
    return f"{op} {dtype}" if op else "all kernels"


def _night_json(night: Night) -> dict[str, Any]:
    return {
        "device": night.device,
        "fresh": night.fresh,
        "seconds": night.seconds,
        "platforms": [_platform_json(platform) for platform in night.platforms],
        "unreachable": [
            {"key": lost.platform.key, "platform": asdict(lost.platform), "why": lost.why}
            for lost in night.unreachable
        ],
    }


def _platform_json(night: PlatformNight) -> dict[str, Any]:
    return {
        "key": night.platform.key,
        "platform": asdict(night.platform),
        "predecessor": night.predecessor and night.predecessor.key,
        "fresh": night.fresh,
        "entries": night.entries,
        "shift": _shift_json(night.shift),
        "drifts": [asdict(drift) for drift in night.drifts],
        "passing": _passing_json(night),
        "undecided": night.undecided,
        "sentinels": night.sentinels,
        "measured": dict(night.measured),
        "measured_anew": night.measured_anew,
        "failed": [
            {
                "key": kernel.key,
                "kernel": kernel.text,
                "reason": verdict.reason,
                "detail": verdict.detail,
            }
            for kernel, verdict in night.failed.items()
        ],
        "unlearnt": list(night.unlearnt),
        "left": night.left,
        "quarantined": night.quarantined,
        "energies": asdict(night.metering),
    }


def _passing_json(night: PlatformNight) -> dict[str, Any] | None:
    if night.passing is None:
        return None
    kind, shift = night.passing
    return {"op": kind.op if kind else "", "dtype": kind.dtype if kind else "", **asdict(shift)}


def _shift_json(shift: Shift | None) -> dict[str, Any] | None:
    return None if shift is None else asdict(shift)
