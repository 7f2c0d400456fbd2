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
    table_file,
    us,
)
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.prediction import Prediction
    from adapt.tflite.graph import OperatorGraph

__all__ = ["measure", "predict"]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--measure-missing/--no-measure-missing",
    default=True,
    show_default=True,
    help="Measure the kernels that the table lacks.",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Touch no device: what the table lacks is told by the analytic model.",
)
@click.option(
    "--platform",
    metavar="KEY",
    help="With --offline, the platform of the table: its key, or how that begins.",
)
@device_options
def predict(
    model: Path,
    measure_missing: bool,
    offline: bool,
    platform: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Price MODEL, any .tflite file, operator by operator."""
    from adapt.cost.offline import EYERISS
    from adapt.prediction import predict as price
    from adapt.prediction import predict_on_eyeriss, read_file

    if platform is not None and not offline:
        raise UsageError("--platform goes with --offline", "A device says itself what it is.")
    _, graph = read_file(model)
    if chosen["device"] == EYERISS:
        prediction = predict_on_eyeriss(graph)
    elif offline:
        prediction = _offline(graph, table_file(chosen["tables"]), platform)
    else:
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


def _offline(graph: OperatorGraph, path: Path, platform: str | None) -> Prediction:
    """What the table at `path` tells of `graph` on its one platform, or on that called so."""
    from adapt.prediction import predict_offline, predict_on_eyeriss
    from adapt.tables import stored_platform

    with stored_platform(path, platform) as found:
        return predict_on_eyeriss(graph) if found is None else predict_offline(graph, *found)


def _prediction_json(prediction: Prediction) -> dict[str, Any]:
    return {
        "platform": None if prediction.platform is None else asdict(prediction.platform),
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
        "interval_us": prediction.interval_us if prediction.has_errors else None,
        "shares": prediction.shares,
        "energy_uj": None if prediction.energy is None else prediction.energy.by_origin,
        "told_by": prediction.told_by or None,
        "left_out": [
            {"op": op, "dtype": dtype, "kernels": each.kernels, "error": each.error}
            for (op, dtype), each in prediction.left_out.items()
        ],
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
    lines = [
        f"on {prediction.platform or 'the Eyeriss chip'}",
        columns(rows, left=(1, 2, 6)),
        *([f"calling the runtime {us(prediction.call_us)} us"] if prediction.platform else []),
        _total_text(prediction),
        *_energy_lines(prediction),
        *([f"told by {prediction.told_by}"] if prediction.told_by else []),
    ]
    if prediction.unknown:
        names = ", ".join(f"{n} {name}" for name, n in prediction.unknown_by_name.items())
        lines.append(f"unknown, not in the total: {names}")
    return "\n".join(lines)


def _total_text(prediction: Prediction) -> str:
    """The total, where it may lie, and how it came to be known."""
    if prediction.nothing_known:
        return "total unknown"
    text = f"total {us(prediction.total_us)} us"
    if prediction.has_errors:
        low, high = prediction.interval_us
        text += f", nine times in ten {us(low)} to {us(high)} us"
    shares = (f"{percent(share)} {origin}" for origin, share in prediction.shares.items())
    return f"{text}: {', '.join(shares)}"


def _energy_lines(prediction: Prediction) -> list[str]:
    energy = prediction.energy
    if energy is None or not energy.value:
        return []
    shares = (f"{percent(part / energy.value)} {name}" for name, part in energy.by_origin.items())
    return [f"energy {us(energy.value)} uJ above idle power: {', '.join(shares)}"]


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
