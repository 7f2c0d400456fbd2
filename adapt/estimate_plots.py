"""Pictures of estimates: where the energy of a network goes, and several networks side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from adapt.cost.eyeriss import NetworkEstimate, Settings
from adapt.drawing import figure_style, label, light, printable
from adapt.tables import replacing

__all__ = ["draw_layers", "draw_networks"]

# Inches: a figure, a bar with its gap, and what surrounds the bars of a panel.
_WIDTH = 7.2
_BAR = 0.2
_MARGIN = 1.15
_SCATTER_HEIGHT = 4.4
_DPI = 160

# Figures beyond this are not drawn; networks of more layers show their dearest.
_MOST_BARS = 120

_DATA = {"ifmap": "adapted", "ofmap": "third", "weight": "baseline", "computation": "muted"}
_LEVELS = {
    "dram": ("DRAM", "limit"),
    "buffer": ("buffer", "baseline"),
    "array": ("array", "third"),
    "scratchpad": ("scratchpads", "adapted"),
    "mac": ("MACs", "muted"),
}
_UNIT = "energy of one image (MACs)"

# Counts with a unit of thousands, such as 1.5 G.
_amount = EngFormatter()
_total = EngFormatter(places=2)

# A part of a stacked bar: its label, colour, and a length for each bar.
_Part = tuple[str, str, list[float]]


def draw_layers(path: Path, name: str, settings: Settings, network: NetworkEstimate) -> None:
    """Draw each layer's energy by data type, and each data type's by level, to the file `path`.

    `path` ends in .png or .svg. OSError where it cannot be written; what was there is then still
    there.
    """
    layers = network.layers
    title = f"{name}: {_total(network.total)} MACs of energy"
    if len(layers) > _MOST_BARS:
        layers = tuple(sorted(layers, key=lambda each: -each.total)[:_MOST_BARS])
        title += f", its {_MOST_BARS} dearest layers"
    heights = [len(_DATA) * _BAR + _MARGIN, len(layers) * _BAR + _MARGIN]
    with _picture(path, title, settings, heights) as (above, below):
        levels: list[_Part] = [
            (text, colour, [_spent(network, level, kind) for kind in _DATA])
            for level, (text, colour) in _LEVELS.items()
        ]
        _bars(above, list(_DATA), levels)
        kinds: list[_Part] = [
            (kind, colour, [each.of_data(kind) for each in layers])
            for kind, colour in _DATA.items()
        ]
        _bars(below, [label(each.layer.name) for each in layers], kinds)


def draw_networks(
    path: Path,
    networks: Sequence[tuple[str, NetworkEstimate]],
    settings: Settings,
    accuracies: Sequence[float],
) -> None:
    """Draw `networks` to the file `path`: accuracy over energy, or bars without `accuracies`.

    `accuracies` are percentages, one for each network or none; `path` and errors as of
    `draw_layers`.
    """
    title = f"{len(networks)} networks"
    if accuracies:
        with _picture(path, title, settings, [_SCATTER_HEIGHT]) as (axes,):
            _scatter(axes, networks, accuracies)
        return
    with _picture(path, title, settings, [len(networks) * _BAR * 1.5 + _MARGIN]) as (axes,):
        kinds: list[_Part] = [
            (
                kind,
                colour,
                [sum(each.of_data(kind) for each in network.layers) for _, network in networks],
            )
            for kind, colour in _DATA.items()
        ]
        _bars(axes, [label(name) for name, _ in networks], kinds)


def _spent(network: NetworkEstimate, level: str, kind: str) -> float:
    return sum(each.energy.get((level, kind), 0.0) for each in network.layers)


def _bars(axes: Any, names: Sequence[str], parts: Sequence[_Part]) -> None:
    """Horizontal stacked bars, the first at the top."""
    places = range(len(names))
    left = [0.0] * len(names)
    for text, colour, lengths in parts:
        axes.barh(places, lengths, left=left, height=0.72, color=light(colour), label=text)
        left = [start + length for start, length in zip(left, lengths, strict=True)]
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.03 * max(left, default=0) or 1)
    axes.xaxis.set_major_formatter(_amount)
    axes.set_xlabel(_UNIT)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(parts),
        handlelength=1.2,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _scatter(
    axes: Any, networks: Sequence[tuple[str, NetworkEstimate]], accuracies: Sequence[float]
) -> None:
    energies = [network.total for _, network in networks]
    axes.plot(energies, accuracies, "o", color=light("adapted"), markersize=7)
    middle = (min(energies) * max(energies)) ** 0.5
    for (name, _), energy, accuracy in zip(networks, energies, accuracies, strict=True):
        # Names stand towards the middle, where there is room for them.
        leftward = energy > middle
        axes.annotate(
            label(name),
            (energy, accuracy),
            (-8 if leftward else 8, 0),
            textcoords="offset points",
            va="center",
            ha="right" if leftward else "left",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_amount)
    axes.margins(0.12)
    axes.set_xlabel(_UNIT)
    axes.set_ylabel("accuracy (%)")


@contextmanager
def _picture(
    path: Path, title: str, settings: Settings, heights: Sequence[float]
) -> Iterator[list[Any]]:
    """Panels below one another to draw on; the figure is written to `path` at the end."""
    with figure_style("estimate"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(_WIDTH, sum(heights) + 0.4), layout="constrained")
        panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)
        how = f"analytic; {settings.policy}, batch {settings.batch}"
        figure.suptitle(f"{printable(title)} ({how})", weight="bold", x=0.01, ha="left")
        yield [row[0] for row in panels]
        kind = path.suffix.lower().removeprefix(".")
        metadata: dict[str, str | None] = {"Title": printable(title)}
        if kind == "svg":
            metadata |= dict.fromkeys(("Creator", "Date"))
        with replacing(path) as beside:
            figure.savefig(beside, format=kind, dpi=_DPI, metadata=metadata, facecolor="white")
