"""What is told while a job goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from adapt.methods.base import Iteration, Phase, State
from adapt.progress import Watcher


def state(latency: float, phase: Phase = Phase.SEARCH, number: int = 1) -> State:
    """A search from 100 us, now at `latency`, towards 50 us."""
    cost = {"latency": {"measured": latency}}
    point = Iteration(number=number, group="conv", keep={}, cost=cost, accuracy=0.9, loss=0.1)
    return State(
        phase=phase,
        limits={"latency": 50.0},
        original={"latency": {"measured": 100.0}},
        keep={},
        history=[point],
        long_steps_done=200,
    )


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def watcher(written: io.StringIO) -> Watcher:
    return Watcher(Console(file=written, width=40), None)


def test_brackets_and_colons_are_printed_as_they_are(
    watcher: Watcher, written: io.StringIO
) -> None:
    watcher.began(Path("/jobs/[/red] :smile: net[1]"))
    watcher.notify("litert 2.3.0 [8be66788] [bold]")
    watcher.advanced("", state(80.0))
    assert "job /jobs/[/red] :smile: net[1]\n" in written.getvalue()


def test_lines_are_not_wrapped(watcher: Watcher, written: io.StringIO) -> None:
    watcher.began(Path("/jobs") / ("x" * 100))
    assert written.getvalue() == f"job /jobs/{'x' * 100}\n"


def test_what_goes_on_is_said_now_and_then(watcher: Watcher, written: io.StringIO) -> None:
    for done in range(100):
        watcher.measuring(done, 100, "pi")
    assert written.getvalue().splitlines() == ["measuring kernels on pi, 0 of 100"]


def test_what_goes_on_is_a_live_line_on_a_terminal(written: io.StringIO) -> None:
    console = Console(file=written, force_terminal=True)
    with console.status("starting") as live:
        watcher = Watcher(console, live)
        for done in range(100):
            watcher.notify(f"iteration 1: proposal {done + 1} of 100 [bold]")
        watcher.advanced("", state(75.0))
    # The last text is drawn when the line is taken away, whatever the moments it is drawn at.
    last = written.getvalue().rindex("iteration 1: proposal 100 of 100 [bold]")
    assert "iteration 1, conv: latency 75 us of 50 us" in written.getvalue()[:last]


def test_steps(watcher: Watcher, written: io.StringIO) -> None:
    watcher.advanced("", state(100.0, number=0))
    watcher.advanced("", state(75.0, number=1))
    watcher.advanced("", state(50.0, number=2))
    watcher.advanced("uniform", state(50.0, Phase.FINISH))
    watcher.advanced("uniform", state(50.0, Phase.DONE))
    first, second, third, fourth, fifth = written.getvalue().splitlines()
    assert first == "iteration 0, conv: latency 100 us of 50 us, hold-out 90.0%"
    assert second.startswith("iteration 1, conv: latency 75 us of 50 us, hold-out 90.0%, about")
    assert third == "iteration 2, conv: latency 50 us of 50 us, hold-out 90.0%"
    assert fourth == "uniform: fine-tuning: 200 steps done"
    assert fifth == "uniform: fine-tuned: latency 50 us of 50 us"


def test_the_limit_that_binds_is_said_where_there_are_several(
    watcher: Watcher, written: io.StringIO
) -> None:
    plain = state(75.0)
    cost = {"latency@pi": {"measured": 75.0}, "macs": {"exact": 5e6}}
    point = plain.history[0].model_copy(update={"cost": cost, "binding": "latency@pi"})
    limits = {"latency@pi": 50.0, "macs": 6e6}
    original = {"latency@pi": {"measured": 100.0}, "macs": {"exact": 9e6}}
    update = {"history": [point], "limits": limits, "original": original}
    watcher.advanced("", plain.model_copy(update=update))
    assert written.getvalue() == (
        "iteration 1, conv: latency@pi 75 us of 50 us, macs 5.00 M of 6.00 M,"
        " bound by latency@pi, hold-out 90.0%\n"
    )


def test_what_is_minimised_has_no_limit(watcher: Watcher, written: io.StringIO) -> None:
    for number, latency in enumerate((100.0, 75.0)):
        least = state(latency, number=number).model_copy(update={"minimised": ["latency"]})
        watcher.advanced("", least)
    watcher.say("iteration 1, fine-tuned: hold-out 91.0% keeps 90.0%")
    assert written.getvalue().splitlines()[1:] == [
        "iteration 1, conv: latency 75 us, 75.0% of the original's, hold-out 90.0%",
        "iteration 1, fine-tuned: hold-out 91.0% keeps 90.0%",
    ]
