"""The figures of the report. Each is drawn from the result alone and is None where it has nothing
to show."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adapt.budget import RESOURCES
from adapt.job.result import JobResult, NetworkResult
from adapt.report.svg import COLOURS, figure_style, inline_svg, label
from adapt.report.tables import cost_value, first_cost
from adapt.report.values import amount, duration, known, micro, percent, ratio, shipped_accuracy

__all__ = ["Plot", "draw_plots"]

# Inches. Two figures side by side fill a desktop's page; one fills a phone's.
_WIDTH = 5.2
_HEIGHT = 3.4
_BAR_HEIGHT = 0.27
_BARS_MARGIN = 0.9

# An axis of accuracies spans at least this many points, lest noise look like a trend.
_LEAST_SPAN = 2.0

# Phases shorter than this share of the job are left out of the figure.
_LEAST_SHARE = 0.001

_MARKERS = {"original": "s", "adapted": "D"}
_BASELINE_MARKERS = "^vP*X"
_SERIES = ("adapted", "third", "baseline", "muted", "ink")

_PHASES = {
    "reading": "reading model and data",
    "measuring": "measuring kernels",
    "search": "search",
    "finish": "long fine-tune",
    "results": "results",
}


@dataclass(frozen=True)
class Plot:
    """A figure: its title, what to see in it, and the SVG element."""

    name: str
    title: str
    caption: str
    svg: str


def draw_plots(result: JobResult) -> list[Plot]:
    """Every figure that the result has data for."""
    drawings: dict[str, Callable[[JobResult, str], Plot | None]] = {
        "accuracy": _accuracy,
        "cost": _cost,
        "widths": _widths,
        "time": _time,
    }
    plots = []
    for name, draw in drawings.items():
        with figure_style(name), warnings.catch_warnings():
            # The page's font has the glyphs of a layer's name that matplotlib's lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            plot = draw(result, name)
        plots += [plot] if plot else []
    return plots


def _colour(name: str) -> str:
    return COLOURS[name].light


def _axes(height: float = _HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(figure: Figure, columns: int = 3) -> None:
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1.4, columnspacing=1.2)


def _looks(network: NetworkResult, result: JobResult) -> tuple[str, str]:
    """Marker and colour of a network."""
    if network.name in _MARKERS:
        return _MARKERS[network.name], _colour("ink" if network.name == "original" else "adapted")
    baselines = [n.name for n in result.networks if n.name not in _MARKERS]
    marker = _BASELINE_MARKERS[baselines.index(network.name) % len(_BASELINE_MARKERS)]
    return marker, _colour("baseline")


def _shown_unit(resource: str, largest: float) -> tuple[float, str]:
    """Factor and label of an axis whose largest amount is `largest`."""
    kind = RESOURCES[resource]
    unit = max((u for u in kind.shown if kind.units[u] <= max(largest, 1.0)), key=kind.units.get)
    text = micro(f" {unit}").strip() or ""
    return kind.units[unit], f"{_title(resource)} ({text})" if text else _title(resource)


def _title(resource: str) -> str:
    return {"macs": "MACs", "params": "parameters", "size": "model file"}.get(resource, resource)


def _final_value(network: NetworkResult, resource: str) -> float | None:
    """Latency as measured, everything else as counted or predicted."""
    if resource == "latency":
        return known(network.measured.latency_us)
    return known(cost_value(network.cost, resource))


def _accuracy(result: JobResult, name: str) -> Plot | None:
    """Accuracy against the budgeted resource: the family, the proposals and the final networks."""
    resource = "latency" if "latency" in result.limits else next(iter(result.limits))
    finals = [
        (network, x, y)
        for network in result.networks
        if (x := _final_value(network, resource)) is not None
        and (y := known(shipped_accuracy(network))) is not None
    ]
    family = _known_points(
        (cost_value(i.cost, resource), i.accuracy) for i in result.history
    )
    proposals = _known_points(
        (cost_value(p.cost, resource), p.accuracy)
        for i in result.history
        for p in i.proposals
        if p.group != i.group
    )
    if not finals and not family:
        return None
    figure, axes = _axes()
    limit = result.limits[resource]
    largest = max([x for _, x, _ in finals] + [x for x, _ in family])
    factor, axis_label = _shown_unit(resource, largest)
    if proposals:
        axes.plot(
            [x / factor for x, _ in proposals],
            [y * 100 for _, y in proposals],
            ".",
            color=_colour("ghost"),
            markersize=5,
            label="proposals",
        )
    if family:
        axes.plot(
            [x / factor for x, _ in family],
            [y * 100 for _, y in family],
            "o-",
            color=_colour("muted"),
            markersize=4,
            linewidth=1.2,
            label="iterations (hold-out)",
        )
    axes.axvline(limit / factor, color=_colour("limit"), linestyle="--", label="budget")
    for network, x, y in finals:
        marker, colour = _looks(network, result)
        axes.plot(
            [x / factor],
            [y * 100],
            marker,
            color=colour,
            markersize=8,
            linestyle="none",
            label=f"{label(network.name)} (test)",
        )
    cut = _limit_accuracies(axes, [y for _, _, y in finals] + [y for _, y in family], proposals)
    axes.set_xlim(left=0)
    axes.set_xlabel(axis_label)
    axes.set_ylabel("accuracy (%)")
    _legend(figure)
    spoken = "; ".join(
        f"{network.name} {micro(amount(resource, x))}, {percent(y, 2)}" for network, x, y in finals
    )
    how = "as measured" if resource == "latency" else "as counted"
    caption = (
        f"Large marks: the finished networks on the test split, {_title(resource)} {how}. "
        "Line: the network of each iteration on the hold-out split after its short fine-tune, "
        f"{_title(resource)} as predicted."
    )
    if cut:
        caption += f" {cut} proposals lie below the plot."
    description = f"Accuracy against {_title(resource)}. {spoken}."
    return Plot(
        name, f"Accuracy against {_title(resource)}", caption, inline_svg(figure, name, description)
    )


def _known_points(
    points: Iterable[tuple[float | None, float | None]],
) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in ((known(x), known(y)) for x, y in points)
        if x is not None and y is not None
    ]


def _limit_accuracies(
    axes: Any, accuracies: Sequence[float], proposals: Sequence[tuple[float, float]]
) -> int:
    """Fit the axis to `accuracies`; how many proposals fall below it."""
    low, high = min(accuracies) * 100, max(accuracies) * 100
    margin = max(high - low, _LEAST_SPAN) * 0.12
    bottom, top = low - 2 * margin, high + margin
    axes.set_ylim(bottom, top)
    return sum(y * 100 < bottom for _, y in proposals)


def _cost(result: JobResult, name: str) -> Plot | None:
    """Each budgeted resource, as a share of the original, iteration by iteration."""
    figure, axes = _axes()
    spoken = []
    for position, (resource, limit) in enumerate(result.limits.items()):
        whole = first_cost(result, resource)
        later = [(i.number, cost_value(i.cost, resource)) for i in result.history if i.number > 0]
        points = [
            (number, share * 100)
            for number, value in [(0, whole), *later]
            if (share := ratio(value, whole)) is not None
        ]
        allowed = ratio(limit, whole)
        if len(points) < 2 or allowed is None:
            continue
        colour = _colour(_SERIES[position % len(_SERIES)])
        axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4, label=resource)
        edge = _colour("limit") if len(result.limits) == 1 else colour
        axes.axhline(allowed * 100, color=edge, linestyle="--", label=f"budget of {resource}")
        spoken.append(
            f"{resource} falls to {points[-1][1]:.1f}% of the original,"
            f" the budget allows {percent(allowed)}"
        )
    if not spoken:
        return None
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel("predicted, % of original")
    _legend(figure, columns=2)
    description = f"Cost by iteration: {'; '.join(spoken)}."
    return Plot(
        name,
        "Cost against the budget",
        "What the loop reckons with: the prices of the table, as shares of the original's.",
        inline_svg(figure, name, description),
    )


def _widths(result: JobResult, name: str) -> Plot | None:
    """Filters of each group before and after, with those of the baselines as ticks."""
    before, after = result.network("original").widths, result.network("adapted").widths
    groups = [group for group in before if group in after]
    if not groups:
        return None
    figure, axes = _axes(max(_HEIGHT, _BARS_MARGIN + _BAR_HEIGHT * len(groups)))
    rows = range(len(groups))
    axes.barh(rows, [before[g] for g in groups], 0.7, color=_colour("ghost"), label="original")
    axes.barh(rows, [after[g] for g in groups], 0.7, color=_colour("adapted"), label="adapted")
    for network in result.networks:
        if network.name in _MARKERS:
            continue
        axes.plot(
            [network.widths.get(g, 0) for g in groups],
            rows,
            "|",
            color=_colour("baseline"),
            markersize=11,
            markeredgewidth=2,
            label=label(network.name),
        )
    most = max(before[g] for g in groups)
    for row, group in enumerate(groups):
        axes.text(before[group] + most * 0.02, row, f"{after[group]} / {before[group]}", va="center")
    axes.set_xlim(0, most * 1.2)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(rows, [label(g) for g in groups])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("filters")
    _legend(figure)
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
    spans = [
        (_phase(phase), seconds)
        for phase, seconds in result.seconds.items()
        if (share := ratio(seconds, total)) is not None and share >= _LEAST_SHARE
    ]
    if not spans:
        return None
    figure, axes = _axes(max(_HEIGHT * 0.8, _BARS_MARGIN + _BAR_HEIGHT * len(spans)))
    rows = range(len(spans))
    axes.barh(rows, [seconds for _, seconds in spans], 0.7, color=_colour("muted"))
    longest = max(seconds for _, seconds in spans)
    for row, (_, seconds) in enumerate(spans):
        text = f"{duration(seconds)}, {percent(seconds / total, 0)}"
        axes.text(seconds + longest * 0.02, row, text, va="center")
    axes.set_xlim(0, longest * 1.4)
    axes.set_ylim(len(spans) - 0.5, -0.5)
    axes.set_yticks(rows, [phase for phase, _ in spans])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds")
    spoken = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in spans)
    return Plot(
        name,
        "Where the time went",
        f"{duration(total)} in all.",
        inline_svg(figure, name, f"Time by phase: {spoken}."),
    )


def _phase(name: str) -> str:
    """A phase in words; that of a baseline's track starts with the baseline's name."""
    track, _, phase = name.rpartition(" ")
    words = _PHASES.get(phase, label(phase))
    return f"{label(track)}: {words}" if track else words
