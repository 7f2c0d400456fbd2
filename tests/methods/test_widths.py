"""Widths that a wider one matches are not worth proposing."""

from __future__ import annotations

import math

import pytest

from adapt.methods.widths import nondominated


def test_of_a_staircase_the_ends_of_steps_stay() -> None:
    costs = {width: float(-(-width // 8)) for width in range(1, 33)}
    assert nondominated(costs) == [8, 16, 24, 32]


def test_off_the_tile_may_cost_more_than_the_next_multiple() -> None:
    costs = {w: -(-w // 16) * (1.0 if w % 16 == 0 else 1.4) for w in range(1, 65)}
    assert nondominated(costs) == [16, 32, 48, 64]


def test_a_consumer_that_falls_with_every_channel_keeps_them_all() -> None:
    costs = {width: -(-width // 8) + 0.1 * width for width in range(1, 33)}
    assert nondominated(costs) == list(range(1, 33))


def test_costs_that_differ_by_noise_match() -> None:
    assert nondominated({8: 0.9995, 16: 1.0}) == [16]
    assert nondominated({8: 0.9995, 16: 1.0}, noise=0.0) == [8, 16]
    # Small steps that add up to a large one are not all noise.
    creeping = {width: 1.0 + 0.001 * width for width in range(20)}
    assert nondominated(creeping) == [1, 4, 7, 10, 13, 16, 19]


@pytest.mark.parametrize("costs", [{}, {5: 1.0}, {5: math.inf}])
def test_little_to_choose_from(costs: dict[int, float]) -> None:
    assert set(nondominated(costs)) <= set(costs)
