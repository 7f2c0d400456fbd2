"""What holds for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapt.budget import binding, within
from adapt.errors import BudgetUnreachable
from adapt.methods import METHODS
from adapt.methods.base import Method, Phase, State, cost_of, priced
from adapt.network.load import Network
from adapt.training.finetune import Checkpoint
from adapt.training.importance import Rule

BUDGETS = {
    "macs": ("macs=60%",),
    "latency": ("latency=60%",),
    "all at once": ("latency=70%", "params=50%", "size=230kB"),
}


@pytest.fixture(scope="module", params=list(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=list(BUDGETS.values()), ids=list(BUDGETS))
def run(request: pytest.FixtureRequest, name: str, driver: Any) -> Any:
    return driver.run(name, *request.param, first_step=0.15 if name != "netadapt" else 0.3)


def bits(checkpoint: Checkpoint) -> list[Any]:
    return [
        [(place, value.shape, value.tobytes()) for place, value in values.items()]
        for values in (checkpoint.weights, checkpoint.first, checkpoint.second)
    ]


def copied(checkpoint: Checkpoint) -> Checkpoint:
    weights, first, second = (
        {place: value.copy() for place, value in values.items()}
        for values in (checkpoint.weights, checkpoint.first, checkpoint.second)
    )
    return Checkpoint(weights, first, second, checkpoint.step)


def test_it_is_known_by_its_name(name: str) -> None:
    method: Method = METHODS[name]
    assert method.name == name


def test_it_ends_within_the_limits(run: Any) -> None:
    assert run.state.phase is Phase.DONE
    cost = run.bench.pricer.price(run.state.widths)
    assert within(cost.values_by_resource, run.limits)
    assert not within(run.original.values_by_resource, run.limits)
    assert run.state.history[-1].widths == run.state.widths


def test_what_was_asked_is_remembered(run: Any) -> None:
    for state, _ in run.journal:
        assert state.limits == run.limits
        assert cost_of(state.original).values_by_resource == run.original.values_by_resource


def test_whole_runs_trace_each_function_once(run: Any, driver: Any) -> None:
    """Of all methods and budgets so far: however many candidates, widths and phases there were."""
    assert run.state.phase is Phase.DONE
    assert {"step", "update", "inference"} <= set(driver.trainer.traces)
    assert set(driver.trainer.traces.values()) == {1}
    assert driver.activations.traces in ({}, {"activations": 1})  # Only netadapt asks for it.


def test_filters_only_go(run: Any) -> None:
    full = run.bench.network.widths
    before = {name: list(range(width)) for name, width in full.items()}
    for state, _ in run.journal:
        assert set(state.keep) == set(full)
        for name, positions in state.keep.items():
            assert positions == sorted(set(positions))
            assert set(positions) <= set(before[name])
            assert len(positions) >= 1
        before = state.keep


def test_weights_fit_the_filters(run: Any, digits_network: Network) -> None:
    for state, checkpoint in run.journal:
        if state.phase is not Phase.SEARCH or len(state.history) > 1:
            digits_network.shrunk(state.keep, checkpoint.weights)  # Raises where they do not.


def test_the_history_says_what_each_point_costs(run: Any) -> None:
    for point in run.state.history:
        assert point.cost == priced(run.bench.pricer.price(point.widths))
        assert 0 <= point.accuracy <= 1
        assert 0 <= point.loss < 20


def test_the_limit_that_binds_is_named(run: Any) -> None:
    """Of the last network it is that of the budget of which most is used, as far as prices tell."""
    first, *others = run.state.history
    assert first.binding == (
        "" if first.number == 0 else binding(cost_of(first.cost).values_by_resource, run.limits)
    )
    assert all(point.binding in run.limits for point in others)
    last = run.state.history[-1]
    cost = cost_of(last.cost)
    used = {name: cost[name].value / limit for name, limit in run.limits.items()}
    assert used[last.binding] >= max(used.values()) - 0.05


def test_steps_are_counted(run: Any, name: str) -> None:
    settings = run.bench.settings
    winners = sum(1 for point in run.state.history if point.proposals)
    each = settings.short_steps + (settings.settling_steps if name == "netadapt" else 0)
    assert run.state.long_steps_done == settings.long_steps
    assert run.state.steps_trained == settings.long_steps + winners * each
    assert run.journal[-1][1].step == settings.long_steps


def test_phases_come_in_order(run: Any) -> None:
    phases = [state.phase for state, _ in run.journal]
    assert phases == sorted(phases, key=list(Phase).index)
    assert phases.count(Phase.FINISH) >= 2  # The long fine-tune is journalled in pieces.


def test_any_step_can_be_repeated_from_what_was_written_down(run: Any, name: str) -> None:
    for number, (state, checkpoint) in enumerate(run.journal[:-1]):
        text, weights = state.model_dump_json(), bits(checkpoint)
        read = State.model_validate_json(text)
        assert read == state
        copy = copied(checkpoint)
        again, result = METHODS[name].step(run.bench, read, copy)
        assert again == run.journal[number + 1][0]
        assert bits(result) == bits(run.journal[number + 1][1])
        assert result.step == run.journal[number + 1][1].step
        # What went in is as it was.
        assert read.model_dump_json() == text
        assert bits(copy) == weights


def test_gradients_are_traced_once_as_well(driver: Any, name: str) -> None:
    run = driver.run(name, "macs=70%", long_steps=1, first_step=0.2, importance=Rule.TAYLOR)
    assert run.state.phase is Phase.DONE
    assert driver.importance.traces == {"gradients": 1}


def test_another_seed_gives_other_weights(driver: Any, name: str) -> None:
    run = driver.run(name, "macs=70%", long_steps=2, first_step=0.4)
    state, checkpoint = run.journal[-2]
    assert state.phase is Phase.FINISH
    other = replace(run.bench, seed=run.bench.seed + 1)
    _, trained = METHODS[name].step(other, state, checkpoint)
    assert bits(trained) != bits(run.journal[-1][1])


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (("macs=1",), ["macs", "at the least, 1 asked for"]),
        (("latency=99%", "params=10"), ["params", "at the least, 10 asked for"]),
    ],
)
def test_a_budget_out_of_reach(
    driver: Any, name: str, budget: Sequence[str], words: list[str]
) -> None:
    with pytest.raises(BudgetUnreachable) as caught:
        driver.run(name, *budget)
    assert caught.value.exit_code == 3
    assert all(word in caught.value.what for word in words)
    assert "latency" not in caught.value.what
    assert caught.value.todo


def test_a_budget_met_already(driver: Any, name: str) -> None:
    run = driver.run(name, "macs=100%", "size=1MB", long_steps=3)
    assert run.state.phase is Phase.DONE
    assert run.state.widths == run.bench.network.widths
    assert not any(point.proposals for point in run.state.history)
    assert run.state.steps_trained == 3


def test_no_training_at_all(driver: Any, name: str) -> None:
    none = {"short_steps": 0, "settling_steps": 0, "long_steps": 0}
    run = driver.run(name, "macs=80%", first_step=0.4, compensate=False, **none)
    assert run.state.steps_trained == 0
    statistics = {(n, i) for n, i in run.bench.network.weights if "normalization" in n and i >= 2}
    for place, value in run.journal[-1][1].weights.items():
        if name != "netadapt" or place not in statistics:
            assert np.isin(value, run.bench.network.weights[place]).all()
