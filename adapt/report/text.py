"""The result in a few lines, for the terminal."""

from __future__ import annotations

from pathlib import Path

from adapt.budget import device_of
from adapt.job.request import JobRequest
from adapt.job.result import JobResult, NetworkResult
from adapt.report.tables import cost_value, final_value, latencies
from adapt.report.values import UNKNOWN, amount, percent, ratio
from adapt.report.verdict import check_limits, check_target, overall

__all__ = ["summary"]

_MEASURED = ("", "measured", "of original", "predicted", "MACs", "parameters", "test accuracy")
_MODELLED = ("", "latency", "of original", "energy", "of original", *_MEASURED[4:])


def summary(request: JobRequest, result: JobResult, folder: Path) -> str:
    """The verdict, a table of the networks compared, and where the files are."""
    outcome = overall(check_limits(request, result), check_target(result))
    rows = _rows(result) if len(result.platforms) == 1 else _rows_by_device(result)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [
            f"{request.aim} on {result.platform}: {outcome}",
            *lines,
            *(f"{resource:8} {words}" for resource, words in result.told_by.items()),
            f"network  {folder / 'adapted.keras'}",
            f"         {folder / 'adapted.tflite'}",
            f"report   {folder / 'report.html'}",
        ]
    )


def _rows(result: JobResult) -> list[tuple[str, ...]]:
    head = _MODELLED if "latency" in result.told_by else _MEASURED
    return [(*head, *_precise(result)), *(_row(network, result) for network in result.networks)]


def _rows_by_device(result: JobResult) -> list[tuple[str, ...]]:
    """A row for each network on each device; what is the same on all in its first."""
    rows: list[tuple[str, ...]] = [("", "device", *_MEASURED[1:], *_precise(result))]
    for network in result.networks:
        shared = _counts(network, result)
        for name in latencies(result):
            known = _needs(network, result, name) if name in result.timed else (UNKNOWN, UNKNOWN)
            predicted = amount(name, cost_value(network.cost, name))
            first = name == latencies(result)[0]
            own = (device_of(name), *known, predicted)
            rows.append(
                (network.name, *own, *shared) if first else ("", *own, *(("",) * len(shared)))
            )
    return rows


def _row(network: NetworkResult, result: JobResult) -> tuple[str, ...]:
    latency, shared = _needs(network, result, "latency"), _counts(network, result)
    if "latency" in result.told_by:
        return (network.name, *latency, *_needs(network, result, "energy"), *shared)
    known = latency if result.timed else (UNKNOWN, UNKNOWN)
    predicted = amount("latency", cost_value(network.cost, "latency"))
    return (network.name, *known, predicted, *shared)


def _counts(network: NetworkResult, result: JobResult) -> tuple[str, ...]:
    """What is the same on every device."""
    counts = (amount(r, cost_value(network.cost, r)) for r in ("macs", "params"))
    exact = (percent(network.float_test_accuracy, 2),) if _precise(result) else ()
    return (*counts, percent(network.test_accuracy, 2), *exact)


def _precise(result: JobResult) -> tuple[str, ...]:
    """The column of accuracies before quantisation, where there is any."""
    return () if result.precision == "float32" else ("in float32",)


def _needs(network: NetworkResult, result: JobResult, resource: str) -> tuple[str, str]:
    """What a network needs, and which share of the original's that is."""
    value = final_value(network, resource)
    whole = final_value(result.network("original"), resource)
    return amount(resource, value), percent(ratio(value, whole))
