"""The figures of the report, drawn from the result alone; those without data are left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

from matplotlib.ticker import MaxNLocator

from adapt.drawing import HEIGHT, add_legend, figure_style, label, light, new_axes
from adapt.job.request import JobRequest
from adapt.job.result import JobResult
from adapt.report.curve import accuracy_plot
from adapt.report.svg import Plot, inline_svg
from adapt.report.tables import cost_value, first_cost
from adapt.report.values import duration, known, percent, ratio
from adapt.report.verdict import check_limits

__all__ = ["draw_plots"]

# Inches of a horizontal bar with its gap, and of what surrounds the bars.
_BAR_HEIGHT = 0.27
_BARS_MARGIN = 0.9

# Phases shorter than this share of the job are left out of the figure.
_LEAST_SHARE = 0.001

# Colours of several budgeted resources, one after the other.
_SERIES = ("adapted", "third", "baseline", "muted", "ink")

_PHASES = {
    "reading": "reading model and data",
    "measuring": "measuring on the device",
    "search": "search",
    "finish": "long fine-tune",
    "results": "results",
}


def draw_plots(request: JobRequest, result: JobResult) -> list[Plot]:
    """Every figure that the result has data for."""
    allowed = {c.limit.name: c.allowed for c in check_limits(request, result)}
    drawings: dict[str, Callable[[JobResult, str], Plot | None]] = {
        "accuracy": partial(accuracy_plot, allowed=allowed),
        "cost": _cost,
        "time": _time,
        "widths": _widths,
    }
    plots = []
    for name, draw in drawings.items():
        with figure_style(name), warnings.catch_warnings():
            # The page's font has the glyphs of a layer's name that matplotlib's lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            plot = draw(result, name)
        plots += [plot] if plot else []
    return plots


def _cost(result: JobResult, name: str) -> Plot | None:
    """Each budgeted resource, as a share of the original, iteration by iteration."""
    figure, axes = new_axes()
    spoken = []
    for position, resource in enumerate(result.names):
        whole = first_cost(result, resource)
        later = [(i.number, cost_value(i.cost, resource)) for i in result.history if i.number > 0]
        points = [
            (number, share * 100)
            for number, value in [(0, whole), *later]
            if (share := ratio(value, whole)) is not None
        ]
        allowed = ratio(result.limits.get(resource), whole)
        if len(points) < 2 or (allowed is None and resource in result.limits):
            continue
        colour = light(_SERIES[position % len(_SERIES)])
        axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4, label=resource)
        said = f"{resource} falls to {points[-1][1]:.1f}% of the original"
        if allowed is not None:
            edge = light("limit") if len(result.names) == 1 else colour
            axes.axhline(allowed * 100, color=edge, linestyle="--", label=f"budget of {resource}")
            said += f", the budget allows {percent(allowed)}"
        spoken.append(said)
    if not spoken:
        return None
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel("predicted, % of original")
    add_legend(figure, columns=2)
    description = f"Cost by iteration: {'; '.join(spoken)}."
    return Plot(
        name,
        "Cost against the budget",
        "What the loop goes by: predicted costs, as shares of the original's.",
        inline_svg(figure, name, description),
    )


def _widths(result: JobResult, name: str) -> Plot | None:
    """Filters of each group before and after, with those of the baselines as ticks."""
    before, after = result.network("original").widths, result.network("adapted").widths
    groups = [group for group in before if group in after]
    if not groups:
        return None
    figure, axes = new_axes(max(HEIGHT, _BARS_MARGIN + _BAR_HEIGHT * len(groups)))
    rows = range(len(groups))
    axes.barh(rows, [before[g] for g in groups], 0.7, color=light("ghost"), label="original")
    axes.barh(rows, [after[g] for g in groups], 0.7, color=light("adapted"), label="adapted")
    for network in result.networks:
        if network.name in ("original", "adapted"):
            continue
        axes.plot(
            [network.widths.get(g, 0) for g in groups],
            rows,
            "|",
            color=light("baseline"),
            markersize=11,
            markeredgewidth=2,
            label=label(network.name),
        )
    most = max(before[g] for g in groups)
    for row, group in enumerate(groups):
        text = f"{after[group]} / {before[group]}"
        axes.text(before[group] + most * 0.02, row, text, va="center")
    axes.set_xlim(0, most * 1.2)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(rows, [label(g) for g in groups])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("filters")
    add_legend(figure)
    spoken = ", ".join(f"{g} {before[g]} to {after[g]}" for g in groups)
    return Plot(
        name,
        "Width of each group",
        "Filters left of those there were. A group is the filters of several layers that have to "
        "go together; it is named after its first layer.",
        inline_svg(figure, name, f"Filters before and after: {spoken}."),
    )


def _time(result: JobResult, name: str) -> Plot | None:
    """Seconds by phase."""
    total = sum(s for s in result.seconds.values() if known(s) is not None)
    together: dict[str, float] = {}
    for phase, seconds in result.seconds.items():
        together[_phase(phase)] = together.get(_phase(phase), 0.0) + seconds
    spans = [
        (phase, seconds)
        for phase, seconds in together.items()
        if (share := ratio(seconds, total)) is not None and share >= _LEAST_SHARE
    ]
    if not spans:
        return None
    figure, axes = new_axes(max(HEIGHT * 0.8, _BARS_MARGIN + _BAR_HEIGHT * len(spans)))
    rows = range(len(spans))
    axes.barh(rows, [seconds for _, seconds in spans], 0.7, color=light("muted"))
    longest = max(seconds for _, seconds in spans)
    for row, (_, seconds) in enumerate(spans):
        text = f"{duration(seconds)}, {percent(seconds / total, 0)}"
        axes.text(seconds + longest * 0.02, row, text, va="center")
    axes.set_xlim(0, longest * 1.6)
    axes.set_ylim(len(spans) - 0.5, -0.5)
    axes.set_yticks(rows, [phase for phase, _ in spans])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    spoken = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in spans)
    return Plot(
        name,
        "Where the time went",
        f"{duration(total)} in all.",
        inline_svg(figure, name, f"Time by phase: {spoken}."),
    )


def _phase(name: str) -> str:
    """A phase in words; that of a baseline's track starts with the baseline's name.

    A point of its curve has a number behind that.
    """
    track, _, phase = name.rpartition(" ")
    words = _PHASES.get(phase, label(phase))
    baseline, _, number = track.rpartition("-")
    if number.isdecimal():
        return f"{label(baseline)}: its curve"
    return f"{label(track)}: {words}" if track else words
