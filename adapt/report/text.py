"""The result in a few lines, for the terminal."""

from __future__ import annotations

from pathlib import Path

from adapt.budget import format_amount
from adapt.job import JobRequest, JobResult
from adapt.methods.base import cost_of

__all__ = ["summary"]


def summary(request: JobRequest, result: JobResult, folder: Path) -> str:
    """A table of the networks compared, and where the files are."""
    original = result.network("original")
    rows = [("", "measured", "of original", "predicted", "MACs", "parameters", "test accuracy")]
    for network in result.networks:
        cost = cost_of(network.cost)
        accuracy = (
            network.test_accuracy if network.tflite_accuracy is None else network.tflite_accuracy
        )
        rows.append(
            (
                network.name,
                format_amount("latency", network.measured.latency_us),
                f"{network.measured.latency_us / original.measured.latency_us:.1%}",
                format_amount("latency", cost["latency"].value),
                format_amount("macs", cost["macs"].value),
                format_amount("params", cost["params"].value),
                f"{accuracy:.2%}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        [
            f"budget {', '.join(request.budget)} on {result.platform}",
            *lines,
            f"network  {folder / 'adapted.keras'}",
            f"         {folder / 'adapted.tflite'}",
            f"report   {folder / 'report.html'}",
        ]
    )
