"""The result in a few lines, for the terminal."""

from __future__ import annotations

from pathlib import Path

from adapt.job.request import JobRequest
from adapt.job.result import JobResult, NetworkResult
from adapt.report.tables import cost_value, final_value
from adapt.report.values import amount, percent, ratio, shipped_accuracy
from adapt.report.verdict import check_limits, overall

__all__ = ["summary"]

_MEASURED = ("", "measured", "of original", "predicted", "MACs", "parameters", "test accuracy")
_MODELLED = ("", "latency", "of original", "energy", "of original", *_MEASURED[4:])


def summary(request: JobRequest, result: JobResult, folder: Path) -> str:
    """The verdict, a table of the networks compared, and where the files are."""
    outcome = overall(check_limits(request, result))
    rows = [
        _MEASURED if result.is_measured else _MODELLED,
        *(_row(network, result) for network in result.networks),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [
            f"budget {', '.join(request.budget)} on {result.platform}: {outcome}",
            *lines,
            *(f"{resource:8} {words}" for resource, words in result.told_by.items()),
            f"network  {folder / 'adapted.keras'}",
            f"         {folder / 'adapted.tflite'}",
            f"report   {folder / 'report.html'}",
        ]
    )


def _row(network: NetworkResult, result: JobResult) -> tuple[str, ...]:
    counts = [amount(r, cost_value(network.cost, r)) for r in ("macs", "params")]
    accuracy = percent(shipped_accuracy(network), 2)
    latency = _needs(network, result, "latency")
    if result.is_measured:
        predicted = amount("latency", cost_value(network.cost, "latency"))
        return (network.name, *latency, predicted, *counts, accuracy)
    return (network.name, *latency, *_needs(network, result, "energy"), *counts, accuracy)


def _needs(network: NetworkResult, result: JobResult, resource: str) -> tuple[str, str]:
    """What a network needs, and which share of the original's that is."""
    value = final_value(network, resource)
    whole = final_value(result.network("original"), resource)
    return amount(resource, value), percent(ratio(value, whole))
