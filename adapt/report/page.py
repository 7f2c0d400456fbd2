"""The report of a job: one HTML file that needs no network and no script."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from adapt.job.folder import write_file
from adapt.job.request import JobRequest
from adapt.job.result import JobResult

__all__ = ["render_report", "write_report"]


def write_report(path: Path, request: JobRequest, result: JobResult) -> None:
    """Write the report of `result` to `path`: all of it or nothing; OSError where that fails."""
    write_file(path, render_report(request, result).encode())


def render_report(request: JobRequest, result: JobResult) -> str:
    """The report as HTML; equal requests and results give equal text."""
    # Drawing takes a second of imports, which nobody should wait for before there is a report.
    from adapt.drawing import COLOURS
    from adapt.report.plots import draw_plots
    from adapt.report.story import tell

    environment = Environment(
        loader=PackageLoader("adapt.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    story = tell(request, result, draw_plots(request, result))
    return environment.get_template("template.html").render(story=story, colours=COLOURS.values())
