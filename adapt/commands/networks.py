"""`adapt predict` and `adapt measure`: what a .tflite file takes, by its kernels and as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.terminal import (
    UNKNOWN,
    columns,
    json_text,
    percent,
    progress,
    table_file,
    us,
)
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.fleet.device import MeasureOptions
    from adapt.fleet.local import LocalDevice
    from adapt.prediction import Prediction
    from lookup_tables.store import Store

__all__ = ["measure", "predict"]


def _device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which device, how it runs a network, and which table; as of `adapt run`."""
    options = [
        click.option("--device", default="local", show_default=True, help="The device."),
        click.option(
            "--backend",
            type=click.Choice(["xnnpack", "builtin"]),
            default="xnnpack",
            show_default=True,
            help="Kernels of its runtime.",
        ),
        click.option(
            "--device-threads",
            type=click.IntRange(1, 64),
            default=1,
            show_default=True,
            help="Its threads.",
        ),
        click.option(
            "--core-mask", default="0", show_default=True, help="Its cores, bit i for CPU i."
        ),
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
def _bench(chosen: dict[str, Any]) -> Iterator[tuple[Store, LocalDevice]]:
    """The table and the device that the options name."""
    from adapt.config import load_config
    from adapt.cost.table import open_table
    from adapt.fleet.claim import claimed

    agent = chosen["agent_python"]
    python = agent.absolute() if agent else None
    home = load_config().home
    with (
        claimed(chosen["device"], home=home, agent_python=python) as device,
        open_table(table_file(chosen["tables"])) as store,
    ):
        yield store, device


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--measure-missing/--no-measure-missing",
    default=True,
    show_default=True,
    help="Measure the kernels that the table lacks.",
)
@_device_options
def predict(model: Path, measure_missing: bool, as_json: bool, **chosen: Any) -> None:
    """Price MODEL, any .tflite file, operator by operator."""
    from adapt.prediction import predict as price
    from adapt.prediction import read_file

    options = _measure_options(chosen)
    _, graph = read_file(model)
    with _bench(chosen) as (store, device), progress("measuring kernels on the device") as show:
        prediction = price(
            graph,
            store,
            device,
            options=options,
            measure=measure_missing,
            on_progress=show,
        )
    click.echo(json_text(_prediction_json(prediction)) if as_json else _prediction_text(prediction))


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    return {
        "platform": asdict(prediction.platform),
        "operators": [
            {
                "index": operator.index,
                "op": operator.kernel.op,
                "output_shape": _shape(operator.kernel.outputs),
                "kernel": operator.kernel.text,
                "key": operator.kernel.key,
                "latency_us": operator.latency_us,
                "relative_error": operator.relative_error,
                "share": operator.share,
                "origin": operator.origin,
                "detail": operator.detail,
            }
            for operator in prediction.operators
        ],
        "call_us": prediction.call_us,
        "total_us": None if prediction.nothing_known else prediction.total_us,
        "interval_us": None if prediction.nothing_known else prediction.interval_us,
        "complete": not prediction.unknown,
        "unknown": prediction.unknown_by_name,
    }


def _shape(outputs: Any) -> list[int] | None:
    """Shape of the first output; an operator may have none."""
    return list(outputs[0].shape) if outputs else None


def _prediction_text(prediction: Prediction) -> str:
    rows = [("#", "operator", "output", "us", "share", "error", "origin")]
    for operator in prediction.operators:
        shape = _shape(operator.kernel.outputs)
        detail = f" ({operator.detail})" if operator.detail else ""
        rows.append(
            (
                str(operator.index),
                operator.kernel.op,
                UNKNOWN if shape is None else "x".join(map(str, shape)) or "scalar",
                us(operator.latency_us),
                percent(operator.share),
                percent(operator.relative_error),
                f"{operator.origin}{detail}",
            )
        )
    low, high = prediction.interval_us
    lines = [
        f"on {prediction.platform}",
        columns(rows, left=(1, 2, 6)),
        f"calling the runtime {us(prediction.call_us)} us",
        "total unknown"
        if prediction.nothing_known
        else f"total {us(prediction.total_us)} us, by the errors stated {us(low)} to {us(high)} us",
    ]
    if prediction.unknown:
        names = ", ".join(f"{n} {name}" for name, n in prediction.unknown_by_name.items())
        lines.append(f"unknown, not in the total: {names}")
    return "\n".join(lines)


@click.command()
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@_device_options
def measure(models: tuple[Path, ...], as_json: bool, **chosen: Any) -> None:
    """Time MODELS, .tflite files, as a whole and side by side."""
    from adapt.prediction import read_file
    from adapt.refresh import measure_networks

    options = _measure_options(chosen)
    contents = [read_file(model)[0] for model in models]
    with _bench(chosen) as (store, device), progress("measuring networks on the device") as show:
        platform = device.platform(options.backend, options.threads, options.core_mask)
        latencies = measure_networks(store, device, contents, options=options, on_progress=show)
    measured = list(zip(models, latencies, strict=True))
    if as_json:
        networks = [{"model": str(model), **asdict(latency)} for model, latency in measured]
        click.echo(json_text({"platform": asdict(platform), "networks": networks}))
        return
    rows = [("model", "us", "spread", "runs", "delegated")]
    rows += [
        (
            str(model),
            us(latency.latency_us),
            percent(latency.relative_error),
            str(latency.runs),
            f"{latency.delegated} of {latency.nodes}",
        )
        for model, latency in measured
    ]
    click.echo(f"on {platform}\n{columns(rows, left=(0,))}")
