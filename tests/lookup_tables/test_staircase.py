"""Tiles found in sweeps made up and in sweeps measured on a real machine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from lookup_tables.staircase import PLAIN, SWEEP, Staircase, find_staircase

MEASURED = json.loads((Path(__file__).parent / "data" / "sweeps.json").read_text())
# As large as the noise of the estimator on a shared machine.
NOISE = 0.005


def swept(time: Callable[[int], float], noise: float = NOISE) -> dict[int, float]:
    """What a sweep of a kernel that takes `time` would bring back."""
    chance = random.Random(1)
    return {count: time(count) * chance.gauss(1, noise) for count in SWEEP}


def above(count: int, tile: int) -> int:
    return -(-count // tile) * tile


@pytest.mark.parametrize("tile", [4, 6, 8, 12, 16, 24, 32])
def test_tile_of_steps(tile: int) -> None:
    found = find_staircase(swept(lambda count: 0.7 + 0.05 * above(count, tile)))
    assert found is not None
    assert found.tile == tile
    assert found.profile == pytest.approx([1.0] * tile, rel=0.03)
    # A step beyond the sweep is as wide as those in it.
    assert found.effective(10 * tile + 1) == pytest.approx(11 * tile, rel=0.03)
    assert found.effective(1) == pytest.approx(tile, rel=0.1)


def test_a_line_has_no_steps() -> None:
    assert find_staircase(swept(lambda count: 0.3 + 0.05 * count)) == PLAIN
    assert PLAIN.effective(77) == 77
    assert PLAIN.above(77) == 77


def test_counts_off_the_tile_may_cost_more_than_the_next_multiple() -> None:
    def time(count: int) -> float:
        return 0.2 + 0.04 * above(count, 16) * (1.0 if count % 16 == 0 else 1.4)

    found = find_staircase(swept(time))
    assert found is not None
    assert found.tile == 16
    assert found.effective(160) == pytest.approx(160, rel=0.03)
    assert found.effective(150) == pytest.approx(1.4 * 160, rel=0.03)
    assert found.kind(150) == found.kind(155) != found.kind(160)


def test_first_steps_may_differ_from_those_that_follow() -> None:
    def time(count: int) -> float:
        return 2.0 if count <= 8 else 1.0 + above(count, 16) / 16

    found = find_staircase(swept(time, noise=0.0))
    assert found is not None
    assert found.tile == 16
    assert found.effective(8) == pytest.approx(16.0)
    assert found.effective(12) == pytest.approx(16.0)
    assert found.effective(3) == pytest.approx(16.0)


@pytest.mark.parametrize("name", MEASURED)
def test_measured_sweeps(name: str) -> None:
    """Swept on an x86-64 server with XNNPACK; the tiles are what a person reads off a plot."""
    times = dict(enumerate(MEASURED[name]["times"], 1))
    found = find_staircase(times)
    assert found is not None
    assert found.tile == MEASURED[name]["tile"]


def test_depthwise_profile_of_a_measured_sweep() -> None:
    found = find_staircase(dict(enumerate(MEASURED["float32 dw 14 s1"]["times"], 1)))
    assert found is not None
    assert found.effective(200) > 1.2 * found.effective(208)


def test_too_few_counts_tell_nothing() -> None:
    assert find_staircase({count: float(count) for count in range(1, 20)}) is None
    assert find_staircase({}) is None


def test_times_that_do_not_rise_have_no_steps() -> None:
    assert find_staircase(dict.fromkeys(SWEEP, 1.0)) is None


def test_equal_staircases_are_equal() -> None:
    sweep = swept(lambda count: 0.7 + 0.05 * above(count, 8))
    backwards = dict(reversed(sweep.items()))
    assert find_staircase(sweep) == find_staircase(backwards)
    assert Staircase() == PLAIN
