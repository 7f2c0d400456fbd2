"""The look of every figure: colours, sizes and fonts, the legend, names that can be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = [
    "COLOURS",
    "HEIGHT",
    "Colour",
    "add_legend",
    "figure_style",
    "label",
    "light",
    "new_axes",
    "printable",
]

# Inches. Two figures side by side fill a desktop's page; one fills a phone's.
WIDTH = 4.7
HEIGHT = 3.2


@dataclass(frozen=True)
class Colour:
    """A colour of the page by its CSS variable, with its value on light and on dark ground.

    Figures are drawn in the light values, which are all different, so that each can be exchanged
    for its variable.
    """

    name: str
    light: str
    dark: str


# Distinguishable with the common colour-vision deficiencies (after Okabe and Ito, 2008), and
# each against its ground by a contrast of 4.5 or more where text may take it.
COLOURS = {
    colour.name: colour
    for colour in (
        Colour("ink", "#1c2026", "#e8eaed"),
        Colour("muted", "#5b6470", "#a3acb8"),
        Colour("rule", "#d5dae1", "#3a414b"),
        Colour("ghost", "#c3ccd8", "#4a5460"),
        Colour("adapted", "#0b62b0", "#6db6f5"),
        Colour("baseline", "#b34c00", "#f2a05c"),
        Colour("limit", "#b3134b", "#ff7a9e"),
        Colour("third", "#0a7058", "#4fc3a1"),
    )
}


# Long names of layers are cut to this many characters, to leave room for what is drawn.
_LABEL_CHARACTERS = 26


def light(name: str) -> str:
    """The value that figures are drawn in of the colour called `name`."""
    return COLOURS[name].light


def new_axes(height: float = HEIGHT, width: float = WIDTH) -> tuple[Figure, Any]:
    """A figure of this size in inches, and its only axes. Call it inside `figure_style`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def add_legend(figure: Figure, columns: int = 3, loc: str = "outside upper left") -> None:
    """A legend above the axes, or at another `loc` where it hides nothing; bars first."""
    (axes,) = figure.axes
    handles, labels = axes.get_legend_handles_labels()
    entries = sorted(zip(handles, labels, strict=True), key=lambda e: isinstance(e[0], Line2D))
    figure.legend(
        *zip(*entries, strict=True),
        loc=loc,
        ncols=columns,
        handlelength=1.4,
        columnspacing=1.2,
    )


def printable(text: str) -> str:
    """`text` without characters that a figure cannot hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def label(name: str) -> str:
    """`name` in a form that a figure can draw: printable, on one line and not too long."""
    clean = printable(name)
    if len(clean) <= _LABEL_CHARACTERS:
        return clean
    # The end of a layer's path tells more than its middle.
    tail = _LABEL_CHARACTERS // 2
    return f"{clean[: _LABEL_CHARACTERS - tail - 1]}…{clean[-tail:]}"


@contextmanager
def figure_style(name: str) -> Iterator[None]:
    """Draw inside this context; `name` makes the ids of the figure its own, and repeatable."""
    ink, muted, rule = map(light, ("ink", "muted", "rule"))
    settings: dict[str, Any] = {
        "svg.hashsalt": name,
        # Text stays text: it can be read aloud, searched, and takes the page's font.
        "svg.fonttype": "none",
        # Layers may have dollar signs in their names.
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.2,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": muted,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": rule,
        "grid.linewidth": 0.7,
        "xtick.color": muted,
        "ytick.color": muted,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "legend.frameon": False,
        "legend.fontsize": 8.6,
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(settings):
        yield
