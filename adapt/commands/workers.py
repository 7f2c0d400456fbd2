"""Options of who trains, in what precision and with how much memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from adapt.errors import UsageError

__all__ = ["chosen_workers", "worker_options"]

_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["here", "processes", "ray"]),
        default="here",
        show_default=True,
        help="Where candidates are tuned and scored: in this process, in several, or on a cluster.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        default=None,
        help="Processes or actors of these.  [default: 1 here, else 2]",
    ),
    click.option(
        "--data-memory",
        type=click.FloatRange(0, 1e6),
        default=None,
        help="GB of examples in memory; the rest is read from disk.  "
        "[default: a quarter of the free]",
    ),
    click.option("--mixed-precision", is_flag=True, help="Train in bfloat16; weights in float32."),
)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_workers(executor: str, asked: int | None) -> int:
    """How many workers `executor` has; UsageError where it has no use for as many as `asked`."""
    if executor == "here" and asked not in (None, 1):
        raise UsageError(
            f"--workers {asked} have nothing to do in this process", "Give --executor processes."
        )
    return asked or (1 if executor == "here" else 2)
