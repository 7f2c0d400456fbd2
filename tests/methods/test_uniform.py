"""The width multiplier, against trying every one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapt.budget import within
from adapt.training.importance import magnitudes

PARTS = 64


def scaled(full: dict[str, int], part: int) -> dict[str, int]:
    return {name: max(1, round(width * part / PARTS)) for name, width in full.items()}


@pytest.mark.parametrize(
    "budget",
    [["macs=2%"], ["macs=37%"], ["macs=99%"], ["params=50%", "macs=60%"], ["latency=45%"]],
)
def test_the_largest_multiplier(driver: Any, budget: list[str]) -> None:
    run = driver.run("uniform", *budget, long_steps=0)
    full = run.bench.network.widths
    options = [scaled(full, part) for part in range(1, PARTS + 1)]
    fitting = [w for w in options if within(run.price(w).values_by_resource, run.limits)]
    assert 0 < len(fitting) < PARTS
    assert run.state.widths == fitting[-1]


def test_the_strongest_filters_stay(driver: Any) -> None:
    run = driver.run("uniform", "macs=50%", long_steps=0)
    network = run.bench.network
    importance = magnitudes(network.weights, network.groups, {})
    for group in network.groups.groups:
        strengths = importance[group.filters]
        kept = np.isin(np.arange(group.width), run.state.keep[group.name])
        assert strengths[kept].min() >= strengths[~kept].max()


def test_the_score_is_that_of_the_cut_weights(driver: Any) -> None:
    run = driver.run("uniform", "macs=50%", long_steps=3)
    cut = run.journal[1][1]
    score = run.bench.trainer.score(cut.weights, run.bench.data.holdout)
    assert (score.accuracy, score.loss) == (
        run.state.history[0].accuracy,
        run.state.history[0].loss,
    )
    assert run.journal[2][1].step == 3
