"""Which of the networks that were measured whole goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapt.methods.base import Phase, State
from adapt.methods.memory import Trial
from adapt.methods.verification import Verification

LIMIT = 100.0


def trial(share: float, outlook: float) -> Trial:
    """A network that takes this share of the limit."""
    cost = {"latency": {"measured": LIMIT * share}}
    return Trial(widths={"conv": round(1000 * share)}, cost=cost, accuracy=0.5, loss=1.0,
                 outlook=outlook, measured=cost)  # fmt: skip


def verification(finalists: int = 1) -> Verification:
    bench: Any = SimpleNamespace(
        pricer=SimpleNamespace(measurable=frozenset({"latency"})),
        settings=SimpleNamespace(finalists=finalists),
    )
    state = State(phase=Phase.SEARCH, limits={"latency": LIMIT}, original={}, keep={}, history=[])
    return Verification(bench, state, lambda *_: 0.0)


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        # Of those that fit the one that promises most.
        ([(0.985, 0.70), (0.990, 0.68), (0.994, 0.69)], 1),
        # A little more promise does not make up for a network that just does not fit, much does.
        ([(0.979, 0.678), (0.987, 0.683)], 1),
        ([(0.998, 0.67), (0.987, 0.68)], 1),
        ([(0.979, 0.65), (0.987, 0.70)], 0),
        # The more is left unused, the more must be promised.
        ([(0.94, 0.64), (0.987, 0.70)], 1),
        # What exceeds the limit never goes on while anything does not.
        ([(1.001, 0.3), (0.80, 2.0)], 1),
        ([(1.05, 0.3), (1.01, 2.0)], 1),
    ],
)
def test_promise_is_weighed_against_what_is_left_unused(
    trials: list[tuple[float, float]], best: int
) -> None:
    known = [trial(*each) for each in trials]
    assert verification().chosen(known)[0] == known[best]


def test_as_many_go_on_as_are_tuned() -> None:
    known = [trial(0.985, 0.70), trial(0.990, 0.68), trial(1.2, 0.1), trial(0.994, 0.69)]
    assert verification(finalists=2).chosen(known) == [known[1], known[3]]
