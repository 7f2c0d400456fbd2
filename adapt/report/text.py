"""The result in a few lines, for the terminal."""

from __future__ import annotations

from pathlib import Path

from adapt.job.request import JobRequest
from adapt.job.result import JobResult, NetworkResult
from adapt.report.tables import cost_value
from adapt.report.values import amount, percent, ratio, shipped_accuracy
from adapt.report.verdict import check_limits, overall

__all__ = ["summary"]

_COLUMNS = ("", "measured", "of original", "predicted", "MACs", "parameters", "test accuracy")


def summary(request: JobRequest, result: JobResult, folder: Path) -> str:
    """The verdict, a table of the networks compared, and where the files are."""
    outcome = overall(check_limits(request, result))
    rows = [_COLUMNS, *(_row(network, result) for network in result.networks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [
            f"budget {', '.join(request.budget)} on {result.platform}: {outcome}",
            *lines,
            *_modelled(request),
            f"network  {folder / 'adapted.keras'}",
            f"         {folder / 'adapted.tflite'}",
            f"report   {folder / 'report.html'}",
        ]
    )


def _modelled(request: JobRequest) -> list[str]:
    """What is no measurement of this device."""
    limited = any(limit.startswith("energy=") for limit in request.budget)
    if request.energy != "eyeriss" or not limited:
        return []
    return ["energy   analytic: modelled on the Eyeriss chip, not this device"]


def _row(network: NetworkResult, result: JobResult) -> tuple[str, ...]:
    latency = network.measured.latency_us
    return (
        network.name,
        amount("latency", latency),
        percent(ratio(latency, result.network("original").measured.latency_us)),
        *(amount(r, cost_value(network.cost, r)) for r in ("latency", "macs", "params")),
        percent(shipped_accuracy(network), 2),
    )
