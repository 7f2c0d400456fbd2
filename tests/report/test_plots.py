"""The figures: what they show, what they leave out, and names that try to break them."""

from __future__ import annotations

import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from adapt.drawing import COLOURS, label
from adapt.job import JobResult
from adapt.job.result import CurvePoint
from adapt.report.plots import draw_plots
from adapt.report.svg import Plot

Make = Callable[..., Any]


@pytest.fixture
def plots_of(request_of: Make) -> Callable[[JobResult], dict[str, Plot]]:
    """Draws a result of the usual request, or of a budget on what the result limits."""

    def draw(result: JobResult) -> dict[str, Plot]:
        budget = [f"{resource}=50%" for resource in result.limits]
        return {plot.name: plot for plot in draw_plots(request_of(budget=budget), result)}

    return draw


def texts(plot: Plot) -> list[str]:
    """What stands in a figure."""
    return [element.text or "" for element in ET.fromstring(plot.svg).iter("text")]


def markers(plot: Plot) -> int:
    """How many marks a figure's curves have."""
    return sum(1 for _ in ET.fromstring(plot.svg).iter("use"))


def test_the_usual_job_has_all_figures(plots_of: Make, result_of: Make) -> None:
    assert list(plots_of(result_of())) == ["accuracy", "cost", "time", "widths"]


def test_accuracy_figure(plots_of: Make, result_of: Make) -> None:
    plot = plots_of(result_of())["accuracy"]
    assert "latency (\N{MICRO SIGN}s)" in texts(plot)
    # Half of the 25.5 us measured is not the 12.5 us that the search went by.
    for entry in (
        "budget of search",
        "budget, measured",
        "iterations (hold-out)",
        "original (test)",
        "uniform (test)",
    ):
        assert entry in texts(plot)
    assert 'aria-label="Accuracy against latency. original 25.5' in plot.svg
    # Both proposals that were not chosen are at 20 %, far below the finished networks.
    assert plot.caption.endswith("Proposals below the plot: 2.")


def test_the_curve_of_a_baseline(plots_of: Make, result_of: Make) -> None:
    costs = [{"latency": {"measured": value}} for value in (20.0, 15.0)]
    curve = [CurvePoint(cost=cost, accuracy=0.9, steps=30) for cost in costs]
    usual, plot = (
        plots_of(result_of(curves=curves))["accuracy"] for curves in ({}, {"uniform": curve})
    )
    assert "uniform (hold-out)" in texts(plot)
    assert "uniform (hold-out)" not in texts(usual)
    in_the_legend = 1
    assert markers(plot) - markers(usual) == len(curve) + in_the_legend
    assert "Dotted: the baseline" in plot.caption
    assert "Dotted" not in usual.caption


def test_limits_that_agree_are_one_line(plots_of: Make, result_of: Make) -> None:
    plot = plots_of(result_of(limits={"latency": 12.75}))["accuracy"]
    assert "budget" in texts(plot)
    assert not {"budget of search", "budget, measured"} & set(texts(plot))


def test_accuracy_is_drawn_over_what_is_budgeted(plots_of: Make, result_of: Make) -> None:
    plot = plots_of(result_of(limits={"params": 50_000.0}, history=[]))["accuracy"]
    assert plot.title == "Accuracy against parameters"
    assert "parameters (k)" in texts(plot)
    assert "as counted" in plot.caption
    assert "iterations (hold-out)" not in texts(plot)


def test_unknown_points_are_left_out(plots_of: Make, result_of: Make, network_of: Make) -> None:
    usual = result_of()
    blind = network_of("uniform", 0.48, math.nan, holdout_accuracy=math.nan)
    without = result_of(networks=[*usual.networks[:2], blind])
    usual_plot, plot = plots_of(usual)["accuracy"], plots_of(without)["accuracy"]
    assert "uniform" not in "".join(texts(plot))
    # Its filled and its hollow mark.
    assert markers(usual_plot) - markers(plot) == 2


def test_cost_figure_has_a_line_for_each_limit(plots_of: Make, result_of: Make) -> None:
    history = [
        point.model_copy(update={"cost": {**point.cost, "macs": {"exact": 3e6 / 2**number}}})
        for number, point in enumerate(result_of().history)
    ]
    result = result_of(limits={"latency": 12.5, "macs": 1e6}, history=history)
    plot = plots_of(result)["cost"]
    assert {"latency", "macs", "budget of latency", "budget of macs"} <= set(texts(plot))
    assert "macs falls to 25.0% of the original, the budget allows 33.3%" in plot.svg


def test_widths_before_and_after(plots_of: Make, result_of: Make) -> None:
    plot = plots_of(result_of())["widths"]
    shown = texts(plot)
    for entry in ("conv2d", "16 / 32", "31 / 64", "block/dense", "63 / 128", "uniform"):
        assert entry in shown


def test_time_by_phase(plots_of: Make, result_of: Make) -> None:
    plot = plots_of(result_of(seconds={"search": 90.0, "uniform finish": 10.0, "results": 0.0}))
    shown = texts(plot["time"])
    assert shown == ["search", "uniform: long fine-tune", "1 min 30 s, 90%", "10 s, 10%"]
    assert plot["time"].caption == "1 min 40 s in all."


def test_points_of_a_curve_are_one_phase(plots_of: Make, result_of: Make) -> None:
    seconds = {"search": 90.0, "uniform-1 search": 1.0, "uniform-1 finish": 4.0,
               "uniform-3 finish": 5.0}  # fmt: skip
    shown = texts(plots_of(result_of(seconds=seconds))["time"])
    assert shown == ["search", "uniform: its curve", "1 min 30 s, 90%", "10 s, 10%"]


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"seconds": {}}, "time"),
        ({"seconds": {"search": math.nan}}, "time"),
        ({"history": []}, "cost"),
        ({"limits": {"energy": 3.0}, "history": []}, "accuracy"),
    ],
)
def test_no_figure_without_data(
    plots_of: Make, result_of: Make, changes: dict[str, Any], missing: str
) -> None:
    assert missing not in plots_of(result_of(**changes))


def test_names_that_a_figure_cannot_draw(plots_of: Make, result_of: Make, network_of: Make) -> None:
    widths = {"$\\frac$": 8, "a\x00b\nc": 4, "日本": 2, "<b>&": 1}
    networks = [network_of(name, 1.0, 0.9, widths=widths) for name in ("original", "adapted")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = plots_of(result_of(networks=networks))["widths"]
    assert {"$\\frac$", "a\ufffdb\ufffdc", "日本", "<b>&"} <= set(texts(plot))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv2d", "conv2d"),
        ("block_1_expand_and_project", "block_1_expand_and_project"),
        ("stage_3/block_12/depthwise_conv2d_7", "stage_3/bloc…wise_conv2d_7"),
    ],
)
def test_labels(name: str, expected: str) -> None:
    assert label(name) == expected


def test_ids_carry_the_figures_name(plots_of: Make, result_of: Make) -> None:
    for name, plot in plots_of(result_of()).items():
        ids = re.findall(r"\bid=\"(.*?)\"", plot.svg)
        assert ids
        assert all(identifier.startswith(f"{name}-") for identifier in ids)


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "adapted", "baseline", "limit", "third"])
def test_colours_can_be_read(name: str, ground: str) -> None:
    colour = COLOURS[name]
    value, page = (colour.light, "#ffffff") if ground == "light" else (colour.dark, "#14171b")
    low, high = sorted((_luminance(value), _luminance(page)))
    # WCAG 2.2, success criterion 1.4.3.
    assert (high + 0.05) / (low + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2.2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
