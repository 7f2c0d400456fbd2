"""Reports of jobs with several devices, and of those for the least cost at an accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adapt.fleet.choice import parse_choices
from adapt.job.result import TargetResult
from adapt.report import summary
from adapt.report.page import render_report

Make = Callable[..., Any]


def _renamed(values: dict[str, Any], names: Mapping[str, float]) -> dict[str, Any]:
    """`values` with what is there of the latency once for each of `names`."""
    other = {name: value for name, value in values.items() if name != "latency"}
    return {**dict.fromkeys(names, values["latency"]), **other}


def test_two_devices(request_of: Make, result_of: Make) -> None:
    names = {"latency@pixel": 12.5, "latency@pi,threads=2": 12.5}
    usual = result_of()
    networks = [
        n.model_copy(
            update={"cost": _renamed(n.cost, names), "measured": _renamed(n.measured, names)}
        )
        for n in usual.networks
    ]
    history = [
        i.model_copy(update={"cost": _renamed(i.cost, names), "binding": "latency@pixel"})
        for i in usual.history
    ]
    result = result_of(
        networks=networks,
        history=history,
        limits=names,
        platforms={"pixel": "a phone", "pi,threads=2": "a board"},
    )
    devices = parse_choices(["phone,label=pixel", "pi,threads=2", "pi"], {})[:2]
    request = request_of(devices=devices)
    page = render_report(request, result)
    for label in ("pixel", "pi,threads=2"):
        assert f"Latency on {label}, measured" in page
        assert f"latency=50% on {label}" in page
    assert "On the devices, the adapted network takes 12.5" in page
    assert "<dt>Platform of pixel</dt><dd>a phone</dd>" in page
    assert "latency on pixel" in page  # What bound each iteration.
    text = summary(request, result, Path("jobs"))
    assert text.splitlines()[0].endswith("on pixel: a phone; pi,threads=2: a board: met")
    rows = [line.split() for line in text.splitlines()[1:8]]
    assert [row[:2] for row in rows[1:5:2]] == [["original", "pixel"], ["adapted", "pixel"]]
    assert rows[4][:3] == ["pi,threads=2", "12.5", "us"]


def test_the_least_cost_at_an_accuracy(request_of: Make, result_of: Make) -> None:
    judged = {1: 0.95, 2: 0.9}
    target = TargetResult(accuracy=0.9, minimised=["latency"], iteration=2, judged=judged)
    request = request_of(budget=[], target_accuracy=0.9, compare=[])
    page = render_report(request, result_of(limits={}, target=target))
    assert "Least latency at an accuracy of 90.00%" in page
    assert "Accuracy kept, on the held-out examples" in page
    assert "at least 90.00%" in page
    assert "95.00%" in page
    missed = target.model_copy(update={"accuracy": 0.99})
    page = render_report(request, result_of(limits={}, target=missed))
    assert "Accuracy missed" in page
    both = request_of(budget=["macs=50%"], target_accuracy=0.9)
    page = render_report(both, result_of(limits={"macs": 1.5e6}, target=target))
    assert "Budget met, as counted" in page
    assert "Least latency at an accuracy of 90.00%, budget macs=50%" in page
