"""`adapt predict` and `adapt measure`: what a .tflite file takes, by its kernels and as a whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.device import bench, device_options
from adapt.commands.terminal import (
    UNKNOWN,
    columns,
    json_text,
    percent,
    progress,
    us,
)

if TYPE_CHECKING:
    from adapt.prediction import Prediction

__all__ = ["measure", "predict"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--measure-missing/--no-measure-missing",
    default=True,
    show_default=True,
    help="Measure the kernels that the table lacks.",
)
@device_options
def predict(model: Path, measure_missing: bool, as_json: bool, **chosen: Any) -> None:
    """Price MODEL, any .tflite file, operator by operator."""
    from adapt.prediction import predict as price
    from adapt.prediction import read_file

    _, graph = read_file(model)
    with (
        bench(chosen) as (store, device, options),
        progress("measuring kernels on the device") as show,
    ):
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
@device_options
def measure(models: tuple[Path, ...], as_json: bool, **chosen: Any) -> None:
    """Time MODELS, .tflite files, as a whole and side by side."""
    from adapt.prediction import read_file
    from adapt.refresh import measure_networks

    contents = [read_file(model)[0] for model in models]
    with (
        bench(chosen) as (store, device, options),
        progress("measuring networks on the device") as show,
    ):
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
