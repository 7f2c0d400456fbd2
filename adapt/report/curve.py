"""The figure that a reader comes for: accuracy against what is budgeted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapt.budget import RESOURCES, base
from adapt.drawing import add_legend, label, light, new_axes
from adapt.job.result import JobResult, NetworkResult
from adapt.report.svg import Plot, inline_svg
from adapt.report.tables import cost_value, final_value, resource_label
from adapt.report.values import amount, known, micro, percent, ratio

__all__ = ["accuracy_plot"]

# An axis of accuracies spans at least this many points, lest noise look like a trend.
_LEAST_SPAN = 2.0

# Limits that differ by no more than this share would be drawn as one blurred line.
_SAME_LIMIT = 0.005

_BASELINE_MARKERS = "^vP*X"

_Point = tuple[float, float]


@dataclass(frozen=True)
class _Curve:
    """Points of (amount of the resource in its unit, accuracy as a share of 1)."""

    resource: str
    finals: list[tuple[NetworkResult, _Point]]
    family: list[_Point]
    proposals: list[_Point]
    baselines: dict[str, list[_Point]]

    @classmethod
    def of(cls, result: JobResult) -> _Curve:
        """The curve over the first latency that is budgeted, or else the first resource."""
        resources = result.names
        resource = next((each for each in resources if base(each) == "latency"), resources[0])
        finals = [
            (network, point)
            for network in result.networks
            for point in _known([(final_value(network, resource), network.test_accuracy)])
        ]
        return cls(
            resource,
            finals,
            _known((cost_value(i.cost, resource), i.accuracy) for i in result.history),
            _known(
                (cost_value(p.cost, resource), p.accuracy)
                for i in result.history
                for p in i.proposals
                if not p.chosen
            ),
            {
                name: _known((cost_value(p.cost, resource), p.accuracy) for p in points)
                for name, points in result.curves.items()
            },
        )

    @property
    def kept(self) -> list[_Point]:
        """What the axes have to show."""
        holdouts = _known((x, network.holdout_accuracy) for network, (x, _) in self.finals)
        baselines = [point for points in self.baselines.values() for point in points]
        return [point for _, point in self.finals] + holdouts + self.family + baselines

    @property
    def floor(self) -> float:
        """The lowest accuracy that is shown."""
        return self._bounds()[0]

    @property
    def ceiling(self) -> float:
        """The highest accuracy that is shown."""
        return self._bounds()[1]

    def _bounds(self) -> tuple[float, float]:
        low, high = min(y for _, y in self.kept), max(y for _, y in self.kept)
        margin = max(high - low, _LEAST_SPAN / 100) * 0.12
        # More room below, where proposals are worth seeing.
        return low - 2 * margin, high + margin


def accuracy_plot(
    result: JobResult, name: str, *, allowed: Mapping[str, float | None]
) -> Plot | None:
    """Accuracy against the budgeted resource: the family, the proposals and the final networks.

    `allowed` are the limits that the final networks are held against, in each resource's unit.
    """
    curve = _Curve.of(result)
    if not curve.kept:
        return None
    figure, axes = new_axes()
    factor, axis_label = _axis(curve.resource, max(x for x, _ in curve.kept))
    _draw_search(axes, curve, factor)
    searched, final = result.limits.get(curve.resource), allowed.get(curve.resource)
    _draw_limits(axes, searched, final, _evidence(curve.resource, result), factor)
    baselines = iter(_BASELINE_MARKERS * len(curve.finals))
    for network, (x, y) in curve.finals:
        marker, colour = _looks(network.name, baselines)
        text = f"{label(network.name)} (test)"
        axes.plot([x / factor], [y * 100], marker, color=colour, markersize=8, label=text)
        if (holdout := known(network.holdout_accuracy)) is not None:
            hollow = {"color": colour, "markerfacecolor": "none", "markersize": 8}
            axes.plot([x / factor], [holdout * 100], marker, **hollow)
    axes.set_ylim(curve.floor * 100, curve.ceiling * 100)
    axes.set_xlim(left=0)
    axes.set_xlabel(axis_label)
    axes.set_ylabel("accuracy (%)")
    add_legend(figure)
    what = resource_label(curve.resource)
    svg = inline_svg(figure, name, f"Accuracy against {what}. {_spoken(curve)}.")
    return Plot(name, f"Accuracy against {what}", _caption(curve, result), svg)


def _draw_search(axes: Any, curve: _Curve, factor: float) -> None:
    for points, style, colour, text in (
        (curve.proposals, ".", "ghost", "other proposals"),
        (curve.family, "o-", "muted", "iterations (hold-out)"),
    ):
        if points:
            x = [x / factor for x, _ in points]
            y = [y * 100 for _, y in points]
            axes.plot(x, y, style, color=light(colour), markersize=4.5, linewidth=1.2, label=text)
    markers = iter(_BASELINE_MARKERS * len(curve.baselines))
    for name, points in curve.baselines.items():
        if points:
            x = [x / factor for x, _ in points]
            y = [y * 100 for _, y in points]
            style, text = f"{next(markers)}:", f"{label(name)} (hold-out)"
            looks = {"color": light("baseline"), "markersize": 4.5, "linewidth": 1.2}
            axes.plot(x, y, style, label=text, **looks)


def _draw_limits(
    axes: Any, searched: float | None, final: float | None, told: str, factor: float
) -> None:
    """The limit of the search and that of the final networks, as one line where they are close.

    Half of the predicted latency is not quite half of the measured one; `told` says how the final
    networks' is known.
    """
    apart = (share := ratio(final, searched)) is not None and abs(share - 1) > _SAME_LIMIT
    limits: list[tuple[str, float | None, str]] = [("budget", searched, "--")]
    if apart:
        limits = [("budget of search", searched, ":"), (f"budget, {told}", final, "--")]
    for text, value, style in limits:
        if (limit := known(value)) is not None:
            axes.axvline(limit / factor, color=light("limit"), linestyle=style, label=text)


def _looks(name: str, baselines: Iterable[str]) -> tuple[str, str]:
    """Marker and colour of the network called `name`; `baselines` are markers to take from."""
    if name == "original":
        return "s", light("ink")
    if name == "adapted":
        return "D", light("adapted")
    return next(iter(baselines)), light("baseline")


def _axis(resource: str, largest: float) -> tuple[float, str]:
    """Factor and label of an axis whose largest amount is `largest`, in the resource's unit."""
    kind = RESOURCES[base(resource)]
    fitting = [unit for unit in kind.shown if kind.units[unit] <= largest]
    unit = fitting[-1] if fitting else kind.shown[0]
    text = micro(f" {unit}").strip()
    name = resource_label(resource)
    return kind.units[unit], f"{name} ({text})" if text else name


def _known(points: Iterable[tuple[float | None, float | None]]) -> list[_Point]:
    pairs = ((known(x), known(y)) for x, y in points)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _spoken(curve: _Curve) -> str:
    texts: Sequence[str] = [
        f"{network.name} {micro(amount(curve.resource, x))}, {percent(y, 2)}"
        for network, (x, y) in curve.finals
    ]
    return "; ".join(texts)


def _evidence(resource: str, result: JobResult) -> str:
    """What tells the costs of finished networks, as a participle."""
    if resource in result.timed:
        return "measured"
    if resource in result.told_by:
        return "modelled"
    return "predicted" if base(resource) in ("latency", "energy") else "counted"


def _caption(curve: _Curve, result: JobResult) -> str:
    what = resource_label(curve.resource)
    how = f"as {_evidence(curve.resource, result)}"
    text = (
        f"Large marks: the finished networks on the test split, {what} {how};"
        " hollow, the same on the hold-out split."
    )
    if curve.family:
        text += (
            " Line: the network of each iteration on the hold-out split after its short"
            f" fine-tune, {what} as predicted."
        )
    if any(curve.baselines.values()):
        text += " Dotted: the baseline at the cost of an iteration, after as many steps."
    hidden = sum(y < curve.floor for _, y in curve.proposals)
    if hidden:
        text += f" Proposals below the plot: {hidden}."
    return text
