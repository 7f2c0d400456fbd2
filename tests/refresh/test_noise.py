"""What is learnt of noise from measurements that were made more than once."""

from __future__ import annotations

import math
import random

import pytest

from adapt.refresh.noise import Noise, learn_noise
from lookup_tables.survey import Repeat

DAY = 86_400.0
TYPICAL = learn_noise([])


def night(
    number: int, shift: float, scatter: float, chance: random.Random, us: float = 20.0
) -> list[Repeat]:
    """Sixteen kernels, measured a day apart: all change by `shift`, each by its own scatter."""
    return [
        Repeat(number * DAY, us, (number + 1) * DAY, us * math.exp(chance.gauss(shift, scatter)))
        for _ in range(16)
    ]


def test_typical_values_stand_in_for_history() -> None:
    assert 0.01 < TYPICAL.device < 0.02
    scatter = [TYPICAL.of(us) for us in (0.1, 5.0, 500.0)]
    assert scatter == sorted(scatter, reverse=True)
    assert 0.01 < scatter[-1] < scatter[0] < 0.1


def learnt(device: float, scatter: float, nights: int = 300) -> Noise:
    """After so many nights on which the device shifts and its kernels scatter by these."""
    chance = random.Random(1)
    return learn_noise(
        repeat
        for number in range(nights)
        for repeat in night(number, chance.gauss(0, device), scatter, chance)
    )


@pytest.mark.parametrize(("device", "scatter"), [(0.002, 0.003), (0.05, 0.02), (0.01, 0.08)])
def test_history_replaces_them(device: float, scatter: float) -> None:
    noise = learnt(device, scatter)
    assert noise.of(20.0) == pytest.approx(scatter, rel=0.25)
    # The median of sixteen kernels adds something of their scatter.
    assert noise.device == pytest.approx(math.hypot(device, 1.25 * scatter / 4), rel=0.3)
    assert noise.of(0.5) == TYPICAL.of(0.5)


def test_a_little_history_changes_little() -> None:
    chance = random.Random(1)
    assert learn_noise(night(0, 0.3, 0.001, chance)).device == pytest.approx(TYPICAL.device)
    assert learn_noise(night(0, 0.0, 0.3, chance)).of(20.0) < 0.3


def test_known_drifts_are_no_noise() -> None:
    chance = random.Random(1)
    repeats = [repeat for n in range(20) for repeat in night(n, 0.2, 0.01, chance)]
    assert learn_noise(repeats).device > 0.1
    drifts = [(n + 0.5) * DAY for n in range(20)]
    assert learn_noise(repeats, drifts) == TYPICAL


def test_one_sitting_says_nothing_of_the_next() -> None:
    chance = random.Random(1)
    minutes = [
        Repeat(n * 60.0, 20.0, (n + 1) * 60.0, 20.0 * math.exp(chance.gauss(0.1, 0.001)))
        for n in range(200)
    ]
    noise = learn_noise(minutes)
    assert noise.device == TYPICAL.device
    assert noise.of(20.0) < 0.01


def test_two_kernels_are_no_sitting() -> None:
    few = [repeat for n in range(50) for repeat in night(n, 0.5, 0.0, random.Random(1))[:2]]
    assert learn_noise(few) == TYPICAL
