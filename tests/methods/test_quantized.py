"""Searches of int8 networks, on the bundled one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapt.cost import Amount, Cost, Origin
from adapt.demo import MODEL
from adapt.errors import BudgetUnreachable
from adapt.methods import METHODS
from adapt.methods.landscape import Landscape
from adapt.methods.memory import Memory, Stage
from adapt.methods.starting import begun_unshrunk, cheapest
from adapt.methods.widths import narrowed
from adapt.network.load import load_network
from adapt.training.evaluate import tflite_score


@pytest.fixture(scope="module")
def int8(driver: Any) -> Any:
    """A driver of the int8 network."""
    inputs = driver.data.prepared(driver.data.train.inputs[:20])
    return replace(driver, network=load_network(MODEL, quantized_samples=inputs[:, None]))


@pytest.fixture(scope="module")
def run(int8: Any) -> Any:
    return int8.run("netadapt", "latency=60%", long_steps=0, first_step=0.35, finalists=2)


def of_file(run: Any, keep: Any, weights: Any) -> Any:
    network, data = run.bench.network, run.bench.data
    content = network.to_tflite(network.shrunk(keep, weights))
    return tflite_score(content, data, data.holdout, gives_logits=False)


def test_kernels_of_int8_are_priced(run: Any) -> None:
    assert run.model.measured
    assert {kernel.dtype for kernel in run.model.measured} == {"int8"}


def test_points_are_judged_by_their_files(run: Any) -> None:
    ends = [i for i, (state, _) in enumerate(run.journal) if i and
            len(state.history) > len(run.journal[i - 1][0].history)]  # fmt: skip
    assert ends
    for end in (0, *ends):
        state, checkpoint = run.journal[end]
        point, score = state.history[-1], of_file(run, state.keep, checkpoint.weights)
        assert (point.accuracy, point.loss) == (score.accuracy, score.loss)
        real = run.bench.trainer.score(checkpoint.weights, run.bench.data.holdout)
        assert point.loss != real.loss
        assert point.loss == pytest.approx(real.loss, abs=0.1)


def test_a_step_taken_again_ends_with_the_same_bytes(run: Any) -> None:
    tune = next(i for i, (state, _) in enumerate(run.journal) if state.memory
                and Memory.model_validate(state.memory).stage is Stage.TUNE)  # fmt: skip
    state, checkpoint = run.ask(lambda: METHODS["netadapt"].step(run.bench, *run.journal[tune]))
    expected, weights = run.journal[tune + 1]
    assert state == expected
    for place, value in weights.weights.items():
        np.testing.assert_array_equal(checkpoint.weights[place], value)


def test_a_network_that_diverged_is_the_worst(run: Any) -> None:
    network, split = run.bench.network, run.bench.data.holdout
    nothing = {place: np.full_like(v, np.nan) for place, v in network.weights.items()
               if v.dtype == np.float32}  # fmt: skip
    keep = run.journal[0][0].keep
    score = run.bench.score(keep, {**network.weights, **nothing}, split)
    assert (score.accuracy, score.loss > 10) == (0, True)


def reversed_us(widths: Any) -> Cost:
    """A device on which few channels take longest: the fewest but 5 the longest of all."""
    least = min(widths.values())
    return Cost({"latency": Amount.of(Origin.MEASURED, 100.0 if least < 6 else float(least))})


def test_few_channels_that_take_longer_make_no_budget_unreachable(run: Any) -> None:
    class Pricer:
        price = staticmethod(reversed_us)

    bench = replace(run.bench, pricer=Pricer())
    original = reversed_us(bench.network.widths)
    assert begun_unshrunk(bench, {"latency": 20.0}, original).widths == bench.network.widths
    with pytest.raises(BudgetUnreachable, match="at the least"):
        begun_unshrunk(bench, {"latency": 3.0}, original)
    groups, widths = bench.network.groups.groups, bench.network.widths
    least = cheapest(Pricer(), bench.network, ["latency"])
    assert least["latency"].value < reversed_us(narrowed(groups, 0))["latency"].value
    ways = Landscape(groups, widths, {"latency": 20.0}, reversed_us)
    assert ways.meets(ways.scaled())
