"""Answers for kernels that were not measured, on made-up and on measured families."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lookup_tables import Kernel
from lookup_tables.curve import spread_out
from lookup_tables.curves import Curves
from lookup_tables.families import Axis, member, resized
from lookup_tables.staircase import PLAIN, SWEEP, Staircase, find_staircase

DATA = Path(__file__).parent / "data"
# By text of a kernel: its family's members as [channels ..., microseconds, relative error].
FAMILIES: dict[str, list[list[float]]] = json.loads((DATA / "families.json").read_text())
SWEEPS = json.loads((DATA / "sweeps.json").read_text())

DENSE = "FULLY_CONNECTED(float32[1,96], const float32[10,96], const float32[10]) -> float32[1,10]"
ADD = "ADD(float32[1,7,7,24], float32[1,7,7,24]) -> float32[1,7,7,24]"
TRANSPOSE = "TRANSPOSE(float32[1,8,8,8], const int32[4]={0,3,1,2}) -> float32[1,8,8,8]"


def axis(op: str, dtype: str, window: str, name: str) -> Axis:
    return Axis(op, dtype, window, name)


def staircases() -> dict[Axis, Staircase]:
    """What the measured sweeps teach."""
    sweeps = {
        axis("CONV_2D", "float32", "1x1", "out"): "float32 conv1 14 out",
        axis("CONV_2D", "int8", "1x1", "out"): "int8 conv1 14 out",
        axis("CONV_2D", "int8", "1x1", "in"): "int8 conv1 14 in",
        axis("DEPTHWISE_CONV_2D", "float32", "3x3", "channels"): "float32 dw 14 s1",
        axis("DEPTHWISE_CONV_2D", "int8", "3x3", "channels"): "int8 dw 14 s1",
    }
    found = {}
    for place, name in sweeps.items():
        staircase = find_staircase(dict(enumerate(SWEEPS[name]["times"], 1)))
        assert staircase is not None
        found[place] = staircase
    return found


STAIRCASES = staircases()


def dense(inputs: int, outputs: int) -> Kernel:
    return resized(Kernel.parse(DENSE), (inputs, outputs))


def made_up(
    time: Callable[[int, int], float], noise: float = 0.0
) -> dict[Kernel, tuple[float, float]]:
    """A grid of 25 members of one family."""
    chance = random.Random(2)
    grid = [(m, n) for m in (16, 64, 128, 256, 512) for n in (16, 48, 96, 160, 256)]
    return {dense(m, n): (time(m, n) * chance.gauss(1, noise), 0.002) for m, n in grid}


def measured(text: str) -> dict[tuple[int, ...], tuple[float, float]]:
    return {tuple(map(int, row[:-2])): (row[-2], row[-1]) for row in FAMILIES[text]}


def split(count: int) -> tuple[dict[Kernel, tuple[float, float]], dict[Kernel, float]]:
    """Of every measured family `count` members to learn from, and the others to be told."""
    known: dict[Kernel, tuple[float, float]] = {}
    asked: dict[Kernel, float] = {}
    for text in FAMILIES:
        kernel = Kernel.parse(text)
        place = member(kernel)
        assert place is not None
        values = measured(text)
        stairs = [STAIRCASES.get(each, PLAIN) for each in place.family.axes]
        chosen = set(spread_out(sorted(values), stairs, count))
        for channels, value in values.items():
            if channels in chosen:
                known[resized(kernel, channels)] = value
            else:
                asked[resized(kernel, channels)] = value[0]
    return known, asked


def test_what_was_measured_is_answered_as_measured() -> None:
    values = made_up(lambda m, n: 0.1 + 0.001 * m * n)
    answer = Curves(values).estimate(dense(64, 48))
    assert answer is not None
    assert (answer.value, answer.relative_error) == values[dense(64, 48)]
    assert answer.measured


def test_a_plane_is_interpolated() -> None:
    curves = Curves(made_up(lambda m, n: 0.3 + 0.01 * m + 0.02 * n + 0.001 * m * n))
    for m, n in ((20, 200), (100, 100), (400, 30), (511, 255)):
        answer = curves.estimate(dense(m, n))
        assert answer is not None
        truth = 0.3 + 0.01 * m + 0.02 * n + 0.001 * m * n
        assert answer.value == pytest.approx(truth, rel=0.01)
        assert abs(answer.value / truth - 1) <= answer.relative_error
        assert not answer.measured


def test_what_bends_is_interpolated() -> None:
    """Beyond some size weights come from further away."""

    def time(m: int, n: int) -> float:
        return 0.001 * m * n * (1.0 + 0.5 / (1.0 + math.exp(-(m * n - 20_000) / 5_000)))

    answer = Curves(made_up(time)).estimate(dense(200, 120))
    assert answer is not None
    assert abs(answer.value / time(200, 120) - 1) <= answer.relative_error


def test_steps_are_interpolated_along_the_staircase() -> None:
    found = find_staircase({n: 0.2 + 0.05 * (-(-n // 16) * 16) for n in SWEEP})
    assert found is not None
    out = axis("FULLY_CONNECTED", "float32", "", "out")
    curves = Curves(made_up(lambda m, n: 0.001 * m * (-(-n // 16) * 16)), {out: found})
    for n in (49, 57, 64):
        answer = curves.estimate(dense(100, n))
        assert answer is not None
        assert answer.value == pytest.approx(0.001 * 100 * 64, rel=0.01)


def test_noise_widens_the_expected_error() -> None:
    quiet = Curves(made_up(lambda m, n: 0.001 * m * n)).estimate(dense(100, 100))
    noisy = Curves(made_up(lambda m, n: 0.001 * m * n, noise=0.06)).estimate(dense(100, 100))
    assert quiet is not None
    assert noisy is not None
    assert noisy.relative_error > 1.5 * quiet.relative_error


def test_too_little_is_known() -> None:
    values = made_up(lambda m, n: 0.001 * m * n)
    three = dict(sorted(values.items(), key=lambda item: item[0].text)[:3])
    assert Curves(three).estimate(dense(100, 100)) is None
    assert Curves({}).estimate(dense(100, 100)) is None


def test_what_lies_far_outside_is_not_guessed() -> None:
    curves = Curves(made_up(lambda m, n: 0.001 * m * n))
    assert curves.estimate(dense(600, 100)) is not None
    assert curves.estimate(dense(1024, 100)) is None
    assert curves.estimate(dense(100, 4)) is None


def test_other_families_do_not_help() -> None:
    curves = Curves(made_up(lambda m, n: 0.001 * m * n))
    assert curves.estimate(Kernel.parse(ADD)) is None
    assert curves.estimate(Kernel.parse(TRANSPOSE)) is None


def test_what_may_be_off_by_half_is_not_answered() -> None:
    chance = random.Random(3)
    values = {
        resized(Kernel.parse(ADD), (count,)): (math.exp(chance.gauss(0, 1)), 0.01)
        for count in range(8, 129, 8)
    }
    assert Curves(values).estimate(resized(Kernel.parse(ADD), (60,))) is None


def test_the_order_of_the_values_does_not_matter() -> None:
    known, asked = split(8)
    items = list(known.items())
    random.Random(4).shuffle(items)
    first, second = Curves(known, STAIRCASES), Curves(dict(items), STAIRCASES)
    kernels = list(asked)
    answers = first.estimates(kernels)
    assert second.estimates(reversed(kernels)) == answers
    assert {kernel: first.estimate(kernel) for kernel in answers} == answers


def test_answers_asked_together_or_one_by_one_are_equal_to_the_bit() -> None:
    known, asked = split(12)
    curves = Curves(known, STAIRCASES)
    together = curves.estimates(asked)
    for kernel in list(asked)[::40]:
        assert curves.estimate(kernel) == together.get(kernel)


def errors(answers: Mapping[Kernel, float], truth: Mapping[Kernel, float]) -> list[float]:
    return sorted(abs(value / truth[kernel] - 1) for kernel, value in answers.items())


@pytest.mark.parametrize(("count", "median", "p95"), [(6, 0.02, 0.09), (12, 0.015, 0.07)])
def test_measured_families_are_told_from_few_members(count: int, median: float, p95: float) -> None:
    known, asked = split(count)
    answers = Curves(known, STAIRCASES).estimates(asked)
    assert len(answers) > 0.95 * len(asked)
    found = errors({kernel: answer.value for kernel, answer in answers.items()}, asked)
    assert statistics.median(found) < median
    assert found[int(0.95 * len(found))] < p95


def test_staircases_help() -> None:
    known, asked = split(12)
    wide = [
        errors({k: a.value for k, a in Curves(known, stairs).estimates(asked).items()}, asked)
        for stairs in (STAIRCASES, {})
    ]
    assert statistics.median(wide[0]) < 0.6 * statistics.median(wide[1])


def test_a_dense_sweep_does_not_make_others_look_certain() -> None:
    known, asked = split(8)
    depthwise = next(k for k in known if k.op == "DEPTHWISE_CONV_2D" and k.dtype == "float32")
    for count, us in enumerate(SWEEPS["float32 dw 14 s1"]["times"], 1):
        known[resized(depthwise, (count,))] = (us, 0.002)
    answers = Curves(known, STAIRCASES).estimates(asked)
    within = [
        abs(answers[kernel].value / us - 1) <= answers[kernel].relative_error
        for kernel, us in asked.items()
        if kernel in answers and kernel.op == depthwise.op and kernel.dtype == "float32"
    ]
    assert statistics.fmean(within) >= 0.8


@pytest.mark.parametrize("count", [8, 12, 20])
def test_nine_of_ten_are_within_the_expected_error(count: int) -> None:
    known, asked = split(count)
    answers = Curves(known, STAIRCASES).estimates(asked)
    within = [
        abs(answer.value / asked[kernel] - 1) <= answer.relative_error
        for kernel, answer in answers.items()
    ]
    # These were measured within an hour; on another day more of them miss.
    assert 0.85 <= statistics.fmean(within) <= 0.98
