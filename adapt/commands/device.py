"""Options of commands that measure on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.terminal import table_file
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.fleet.device import Device, MeasureOptions
    from lookup_tables.store import Store

__all__ = ["BINARY_OPTIONS", "bench", "device_options"]


BINARY_OPTIONS = (
    click.option(
        "--binary",
        type=click.Path(path_type=Path),
        default=None,
        help="Google's benchmark_model for the device, for --backend benchmark-model.",
    ),
    click.option(
        "--binary-flag",
        "binary_flags",
        multiple=True,
        help="A flag for it, as use_gpu=true. Repeatable.",
    ),
)


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which device, how it runs a network, and which table; as of `adapt run`."""
    options = [
        click.option("--device", default="local", show_default=True, help="The device."),
        click.option(
            "--backend",
            type=click.Choice(["xnnpack", "builtin", "benchmark-model"]),
            default="xnnpack",
            show_default=True,
            help="Kernels of its runtime, or a program of Google's.",
        ),
        *BINARY_OPTIONS,
        click.option(
            "--device-threads",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Its threads.",
        ),
        click.option(
            "--cores",
            type=click.Choice(["big", "little", "all"]),
            default="big",
            show_default=True,
            help="Its cores, by their clocks.",
        ),
        click.option("--core-mask", default="0", help="These cores instead, bit i for CPU i."),
        click.option(
            "--agent-python",
            type=click.Path(path_type=Path),
            default=None,
            help="Python that runs the agent, for another runtime.",
        ),
        click.option("--tables", type=click.Path(path_type=Path), help="Table file."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _measure_options(chosen: dict[str, Any]) -> MeasureOptions:
    """How the options of a command say that the device runs models."""
    from adapt.fleet.device import MeasureOptions

    try:
        core_mask = int(chosen["core_mask"], 0)
    except ValueError:
        core_mask = -1
    if not 0 <= core_mask < 1 << 64:
        raise UsageError(f"not a core mask: {chosen['core_mask']!r}", "Give a number such as 0xf0.")
    return MeasureOptions(
        backend=chosen["backend"], threads=chosen["device_threads"], core_mask=core_mask
    )


@contextmanager
def bench(chosen: dict[str, Any]) -> Iterator[tuple[Store, Device, MeasureOptions]]:
    """The table and the device that the options name, and how that runs models."""
    from adapt.config import load_config
    from adapt.cost.table import open_table
    from adapt.fleet.benchmark import BACKEND, Benchmark
    from adapt.fleet.claim import claimed
    from adapt.fleet.cores import on_cores

    options = _measure_options(chosen)
    agent = chosen["agent_python"]
    python = agent.absolute() if agent else None
    home = load_config().home
    program = None
    if options.backend == BACKEND:
        program = Benchmark.open(chosen["binary"], chosen["binary_flags"])
    with (
        claimed(chosen["device"], home=home, agent_python=python, benchmark=program) as device,
        open_table(table_file(chosen["tables"])) as store,
    ):
        yield store, device, on_cores(options, chosen["cores"], device)
