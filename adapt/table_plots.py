"""Pictures of a lookup table: the times of a kernel over the months, and over its channels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from adapt.drawing import add_legend, figure_style, label, light, new_axes, printable
from adapt.tables import replacing
from lookup_tables.kernel import Kernel, Platform, Tensor
from lookup_tables.survey import Fate, Observation, Step

__all__ = ["FORMATS", "draw_history", "draw_steps"]

# What a picture's name may end in.
FORMATS = (".png", ".svg")

# Inches, and dots an inch of a PNG.
_WIDTH, _HEIGHT = 7.2, 4.4
_DPI = 160

# Characters that fit into a line of the title and of what stands below it.
_TITLE_CHARACTERS = 62
_SUBTITLE_CHARACTERS = 104

# Characters that fit beside each other in the legend; a handle takes the room of some.
_LEGEND_CHARACTERS = 105
_HANDLE_CHARACTERS = 7

# More marks than this are drawn smaller.
_MANY = 40

# An axis of times spans at least this share of them, lest noise look like a trend.
_LEAST_SPAN = 0.1

# Imports of so many sources are told apart; others share the last mark.
_SOURCE_MARKERS = "^vD<>P"

# The axis of dates spans at least this.
_LEAST_DATES = timedelta(seconds=10)

# Values of options that say nothing; `quantized_bias_type` says it on float kernels too.
_USUAL = frozenset({"NONE", "DEFAULT", "FLOAT32", "false", "1"})

_AXES = {
    "in": "input channels",
    "out": "output channels",
    "channels": "channels",
}


@dataclass(frozen=True)
class _Mark:
    """How the points of one series look."""

    label: str
    colour: str
    marker: str
    filled: bool = True
    line: str = ""


_HOT = _Mark("measured", "adapted", "o", line="-")
_COLD = _Mark("measured with cold weights", "third", "s", line="--")
_COLD_IMPORTED = _Mark("imported with cold weights", "third", "s", filled=False)

# Where it stands, its value and the half of its error bar.
_Point = tuple[Any, float, float]


def draw_history(
    path: Path, platform: Platform, kernel: Kernel, seen: Sequence[Observation]
) -> None:
    """Draw how `kernel` was measured on `platform` to the file `path`, of one of FORMATS.

    `seen` is its history, oldest first, with something in it.
    OSError where the file cannot be written; what was there is then still there.
    """
    with _picture(path, f"{_name(kernel)}: {_shapes(kernel)}", platform, kernel) as axes:
        marks = _source_marks([o.detail for o in seen if o.fate == Fate.IMPORTED])
        series: dict[_Mark, list[_Point]] = {_HOT: [], _COLD: []}
        for observation in seen:
            if observation.latency_us is None or observation.relative_error is None:
                continue
            hot, cold = _HOT, _COLD
            if observation.fate == Fate.IMPORTED:
                hot, cold = marks[observation.detail], _COLD_IMPORTED
            series.setdefault(cold if observation.cold else hot, []).append(
                _point(_moment(observation.at), observation.latency_us, observation.relative_error)
            )
        _draw(axes, series)
        _ring(
            axes,
            [(_moment(o.at), o.latency_us) for o in seen if o.answers and o.latency_us is not None],
            "the table's answer",
        )
        rejected = [_moment(o.at) for o in seen if o.fate == Fate.REJECTED]
        if rejected:
            axes.plot(
                rejected,
                [0.03] * len(rejected),
                "x",
                color=light("limit"),
                markersize=6,
                transform=axes.get_xaxis_transform(),
                label=f"rejected ({len(rejected)})",
            )
        _limit_times(axes, series, from_zero=False)
        first, last = _moment(seen[0].at), _moment(seen[-1].at)
        if last - first < _LEAST_DATES:
            axes.set_xlim(first - _LEAST_DATES / 2, last + _LEAST_DATES / 2)
        locator = AutoDateLocator(tz=UTC, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        axes.set_xlabel("date of the measurement (UTC)")


def draw_steps(
    path: Path, platform: Platform, kernel: Kernel, axis: str, steps: Sequence[Step]
) -> None:
    """Draw `steps`, one or more, over what the kernel's family calls `axis`, to the file `path`.

    `path` and errors are as of `draw_history`.
    """
    over = _AXES.get(axis, f"channels of the {axis} input")
    with _picture(path, f"{_name(kernel)}: time over {over}", platform, kernel) as axes:
        marks = _source_marks([step.row.source for step in steps if step.row.source])
        series: dict[_Mark, list[_Point]] = {_HOT: [], _COLD: []}
        for step in steps:
            row = step.row
            hot, cold = (marks[row.source], _COLD_IMPORTED) if row.source else (_HOT, _COLD)
            series.setdefault(hot, []).append(
                _point(step.channels, row.latency_us, row.relative_error)
            )
            if row.cold_us is not None and row.cold_error is not None:
                series.setdefault(cold, []).append(
                    _point(step.channels, row.cold_us, row.cold_error)
                )
        answers = [step for step in steps if step.answers]
        times = {step.channels: (step.row.latency_us, step.row.cold_us) for step in answers}
        for line in zip(*times.values(), strict=True):
            known = [(c, us) for c, us in zip(times, line, strict=True) if us is not None]
            axes.plot(*zip(*known, strict=True), color=light("ghost"), linewidth=1.2, zorder=1)
        _draw(axes, series, lines=False)
        chosen = [(s.channels, s.row.latency_us) for s in answers if s.row.kernel == kernel]
        _ring(axes, chosen, "the kernel asked for")
        _limit_times(axes, series, from_zero=True)
        if len(times) == 1:
            axes.set_xlim(min(times) - 1, max(times) + 1)
        axes.xaxis.set_major_locator(_channel_ticks(list(times)))
        axes.set_xlabel(over)


@contextmanager
def _picture(path: Path, title: str, platform: Platform, kernel: Kernel) -> Iterator[Any]:
    """Axes to draw on; the figure is written to `path` at the end."""
    # Names of devices are in every language, and not all of it is in the font.
    with figure_style("table"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure, axes = new_axes(_HEIGHT, _WIDTH)
        axes.set_title(_cut(title, _TITLE_CHARACTERS), loc="left", weight="bold", pad=28)
        below = [f"{kernel.key[:12]}  {_options(kernel)}", f"on {platform}"]
        axes.annotate(
            "\n".join(_cut(line, _SUBTITLE_CHARACTERS) for line in below),
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=7.6,
            linespacing=1.4,
            color=light("muted"),
        )
        yield axes
        axes.set_ylabel("latency (\N{MICRO SIGN}s)")
        _, labels = axes.get_legend_handles_labels()
        places = _LEGEND_CHARACTERS // (max(map(len, labels)) + _HANDLE_CHARACTERS)
        add_legend(figure, columns=min(4, places), loc="outside lower center")
        _save(figure, path, title)


def _save(figure: Figure, path: Path, title: str) -> None:
    kind = path.suffix.lower().removeprefix(".")
    metadata: dict[str, str | None] = {"Title": printable(title)}
    if kind == "svg":
        metadata |= dict.fromkeys(("Creator", "Date"))
    with replacing(path) as beside:
        figure.savefig(beside, format=kind, dpi=_DPI, metadata=metadata, facecolor="white")


def _point(where: Any, latency_us: float, relative_error: float) -> _Point:
    # No time is less than nothing, however uncertain it is.
    return where, latency_us, latency_us * min(relative_error, 1.0)


def _draw(axes: Any, series: dict[_Mark, list[_Point]], *, lines: bool = True) -> None:
    """Each series with its error bars."""
    for mark, points in series.items():
        if not points:
            continue
        where, values, errors = zip(*points, strict=True)
        colour = light(mark.colour)
        axes.errorbar(
            where,
            values,
            yerr=errors,
            fmt=mark.marker,
            linestyle=(mark.line if lines else "") or "none",
            color=colour,
            markerfacecolor=colour if mark.filled else "none",
            markersize=3 if len(points) > _MANY else 5,
            linewidth=0.9,
            elinewidth=0.9,
            capsize=2 if len(points) > _MANY else 3,
            label=mark.label,
        )


def _ring(axes: Any, points: Sequence[tuple[Any, float]], meaning: str) -> None:
    if points:
        axes.plot(
            *zip(*points, strict=True),
            "o",
            markerfacecolor="none",
            markeredgecolor=light("ink"),
            markersize=11,
            label=meaning,
        )


def _source_marks(sources: Sequence[str]) -> dict[str, _Mark]:
    """A mark for each source of imports; the last is shared where there are too many."""
    names = sorted(set(sources))
    last = len(_SOURCE_MARKERS) - 1
    others = _Mark(f"imported from {len(names) - last} others", "baseline", "P", filled=False)
    marks = {}
    for number, name in enumerate(names):
        shared = number >= last and len(names) > len(_SOURCE_MARKERS)
        own = _SOURCE_MARKERS[min(number, last)]
        mark = _Mark(f"imported from {label(name)}", "baseline", own, filled=False)
        marks[name] = others if shared else mark
    return marks


def _limit_times(axes: Any, series: dict[_Mark, list[_Point]], *, from_zero: bool) -> None:
    """The range of times shown; all of each error bar."""
    points = [point for each in series.values() for point in each]
    if not points:
        axes.set_yticks([])
        return
    low = 0.0 if from_zero else min(value - error for _, value, error in points)
    high = max(value + error for _, value, error in points)
    short = max(0.0, _LEAST_SPAN * high - (high - low)) / 2
    margin = 0.09 * (high - low) + short
    # Below the lowest there is room for the marks of what was rejected.
    axes.set_ylim(low if from_zero else max(0.0, low - 1.4 * margin), high + margin)


def _channel_ticks(channels: Sequence[int]) -> Any:
    """Ticks at multiples of a power of two, ten of them or fewer."""
    span = max(channels) - min(channels)
    if span < 8:
        return MaxNLocator(integer=True)
    step = 1
    while span / step > 10:
        step *= 2
    return MultipleLocator(step)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _name(kernel: Kernel) -> str:
    return f"{kernel.op}, {kernel.dtype}"


def _shapes(kernel: Kernel) -> str:
    """Shapes of what is computed from what; weights are left out."""
    data = [t for t in kernel.inputs if t is not None and not t.constant]
    return f"{_sizes(data)} \N{RIGHTWARDS ARROW} {_sizes(kernel.outputs)}"


def _sizes(tensors: Sequence[Tensor]) -> str:
    return ", ".join("x".join(map(str, tensor.shape)) or "scalar" for tensor in tensors)


def _options(kernel: Kernel) -> str:
    """Sizes and options, without what is as usual."""
    weights = [t for t in kernel.inputs if t is not None and t.constant]
    parts = [_shapes(kernel)]
    if weights:
        parts.append(f"weights {_sizes(weights[:1])}")
    parts += [f"{name}={value}" for name, value in kernel.options if value not in _USUAL]
    return "; ".join(parts)


def _cut(text: str, characters: int) -> str:
    clean = printable(text)
    if len(clean) <= characters:
        return clean
    return f"{clean[: characters - 1]}\N{HORIZONTAL ELLIPSIS}"
