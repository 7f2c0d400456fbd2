"""`adapt doctor`: whether a device can measure, line by line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from adapt.commands.terminal import json_text
from adapt.errors import DeviceError

__all__ = ["doctor"]

_COLOURS = {"pass": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--device", default="local", show_default=True, help="The device to look at.")
@click.option(
    "--agent-python",
    type=click.Path(path_type=Path),
    default=None,
    help="Python of the device that runs the agent, instead of the bundle.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(device: str, agent_python: Path | None, as_json: bool) -> None:
    """Find out whether a device can measure, and what to do where it cannot.

    Looks at the link, the system, cores, clocks, heat, battery, space and meters, then starts the
    agent and times a kernel. Ends with exit code 4 where a line says fail.
    """
    from adapt.config import load_config
    from adapt.fleet.doctor import Verdict, diagnose

    found = []
    for finding in diagnose(device, load_config().home, agent_python):
        found.append(finding)
        if not as_json:
            todo = f"\n{'':20}-> {finding.todo}" if finding.todo else ""
            colour = _COLOURS[finding.verdict] if sys.stdout.isatty() else None
            verdict = click.style(f"{finding.verdict:4}", fg=colour)
            click.echo(f"{verdict}  {finding.check:14}{finding.seen}{todo}")
    if as_json:
        click.echo(json_text([asdict(finding) for finding in found]))
    failed = [finding.check for finding in found if finding.verdict is Verdict.FAIL]
    if failed:
        raise DeviceError(f"{device} cannot measure yet: {', '.join(failed)}", "See above.")
