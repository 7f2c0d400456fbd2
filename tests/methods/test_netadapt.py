"""The search with many candidates, on the bundled network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from adapt.cost import Missing
from adapt.cost.counts import MacCount
from adapt.cost.pricer import Pricer
from adapt.methods.base import cost_of
from adapt.methods.iteration import Round
from adapt.methods.memory import Memory, Stage
from adapt.methods.screening import _outlook
from adapt.training.scores import Score


class Whole:
    """A device on which whole networks take `share` more than their kernels; `asked` of each."""

    relative = True

    def __init__(self, share: float, price: Any) -> None:
        self.measured: dict[tuple[int, ...], float] = {}
        self._share, self._price = share, price

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        found = self.measured.get(tuple(widths.values()))
        # The original is as predicted, in an hour in which all takes three times as long.
        return None if found is None else (3 * found, 3 * self._price({}))

    def measure(self, versions: Any) -> None:
        for widths in versions:
            self.measured[tuple(widths.values())] = self._share * self._price(widths)


def used(run: Any, number: int = -1) -> dict[str, float]:
    """Share of each limit that the network of an iteration needs, as predicted."""
    cost = cost_of(run.state.history[number].cost).values_by_resource
    return {name: cost[name] / limit for name, limit in run.limits.items()}


@pytest.fixture(scope="module")
def run(driver: Any) -> Any:
    return driver.run("netadapt", "macs=45%", long_steps=0, first_step=0.25)


def test_it_ends_just_below_the_budget(run: Any) -> None:
    assert 0.98 <= used(run)["macs"] <= 1.0
    costs = [cost_of(p.cost)["macs"].value for p in run.state.history]
    factors = [after / before for before, after in itertools.pairwise(costs)]
    assert len(factors) >= 3
    assert max(factors) - min(factors) < 0.08  # Equal steps.


def test_several_groups_change_at_once(run: Any) -> None:
    changed = [len(p.widths) for point in run.state.history for p in point.proposals]
    assert max(changed) >= 3


def test_the_best_of_the_tuned_wins(driver: Any) -> None:
    run = driver.run("netadapt", "macs=60%", long_steps=0, first_step=0.25, finalists=2)
    settings = run.bench.settings
    for point in run.state.history[1:]:
        (chosen,) = (p for p in point.proposals if p.chosen)
        tuned = [p for p in point.proposals if p.steps == settings.short_steps]
        assert len(tuned) == 2
        assert {p.steps for p in point.proposals if p not in tuned} == {settings.trial_steps}
        assert chosen.loss == min(p.loss for p in tuned)
        assert len(point.proposals) > 2
        before = run.state.history[point.number - 1].widths
        assert point.widths == {**before, **chosen.widths}


def test_what_is_tuned_alone_is_shown_as_it_became(run: Any) -> None:
    settings = run.bench.settings
    assert settings.finalists == 1
    for point in run.state.history[1:]:
        (chosen,) = (p for p in point.proposals if p.chosen)
        assert chosen.steps == settings.short_steps + settings.settling_steps
        assert (chosen.loss, chosen.accuracy) == (point.loss, point.accuracy)
        assert {p.steps for p in point.proposals if p is not chosen} == {settings.trial_steps}


def test_each_stage_is_a_step(run: Any) -> None:
    stages = [Memory.model_validate(s.memory).stage for s, _ in run.journal if s.memory]
    iterations = len(run.state.history) - 1
    assert stages.count(Stage.TUNE) == iterations
    assert stages.count(Stage.PROPOSE) == 2 * iterations
    assert run.state.memory == {}


def test_without_trials_many_are_looked_at_untrained(driver: Any) -> None:
    run = driver.run("netadapt", "macs=60%", long_steps=0, first_step=0.25, trial_steps=0)
    proposals = [p for point in run.state.history for p in point.proposals if not p.steps]
    assert len(proposals) > 10 * (len(run.state.history) - 1)
    trials = [t for s, _ in run.journal if s.memory for t in Memory.model_validate(s.memory).trials]
    assert all(trial.outlook == trial.loss for trial in trials)


@pytest.mark.parametrize(
    ("loss", "early", "outlook"), [(0.5, None, 0.5), (0.5, 1.0, 0.25), (0.0, 0.0, 0.0)]
)
def test_the_loss_falls_by_the_same_factor_once_more(
    loss: float, early: float | None, outlook: float
) -> None:
    score = None if early is None else Score(0.5, early)
    assert _outlook(loss, score) == outlook


def test_as_many_proposals_as_asked_for(driver: Any) -> None:
    few = driver.run("netadapt", "macs=70%", long_steps=0, first_step=0.4, proposals=1)
    many = driver.run("netadapt", "macs=70%", long_steps=0, first_step=0.4, proposals=5)
    assert [len(run.state.history[1].proposals) for run in (few, many)] == [2, 10]


def test_what_falls_fast_promises_more(run: Any) -> None:
    trials = [t for s, _ in run.journal if s.memory for t in Memory.model_validate(s.memory).trials]
    assert len({round(trial.outlook / trial.loss, 6) for trial in trials}) > 3
    assert all(trial.outlook > 0 for trial in trials)


def test_nothing_is_traced_again(run: Any, driver: Any) -> None:
    assert set(driver.trainer.traces.values()) == {1}
    assert driver.activations.traces == {"activations": 1}


def priced_by(driver: Any, model: Any) -> Any:
    """The latency of the network of any widths by `model`, us."""
    pricer = driver.bench("netadapt", ["latency"], model).pricer

    def price(widths: Mapping[str, int]) -> float:
        while True:
            try:
                return float(pricer.price(widths)["latency"].value)
            except Missing as lack:
                model.measured |= set(lack.kernels)

    return price


def test_a_latency_that_does_not_bind_is_not_sought(driver: Any, staircase: Any) -> None:
    whole = Whole(0.97, priced_by(driver, staircase))
    models = [staircase, MacCount()]
    pricer = Pricer(driver.network, models, ["latency", "macs"], {"latency": whole})
    run = driver.run("netadapt", "latency=95%", "macs=40%", model=staircase, pricer=pricer,
                     whole=whole, long_steps=0, first_step=0.4)  # fmt: skip
    assert run.state.history[-1].binding == "macs"
    verified = [m.verified for s, _ in run.journal if (m := Memory.model_validate(s.memory or {}))]
    assert max(verified) == 1


@pytest.mark.parametrize("share", [0.94, 1.07])
def test_prices_are_corrected_by_what_whole_networks_take(
    driver: Any, staircase: Any, share: float
) -> None:
    model = staircase
    price = priced_by(driver, model)
    whole = Whole(share, price)
    pricer = Pricer(driver.network, [model], ["latency"], {"latency": whole})
    run = driver.run("netadapt", "latency=60%", model=model, pricer=pricer, whole=whole,
                     long_steps=0, first_step=0.4)  # fmt: skip
    point = run.state.history[-1]
    assert point.measured is not None
    measured = cost_of(point.measured)["latency"].value
    assert measured == pytest.approx(share * price(point.widths))
    assert 0.98 <= measured / run.limits["latency"] <= 1.0
    for state, _ in run.journal:  # However they were changed.
        if state.memory and (memory := Memory.model_validate(state.memory)).verified:
            assert len({tuple(each.widths.values()) for each in memory.trials}) == len(
                memory.trials
            )
    # Only few networks were worth measuring.
    assert 2 <= len(whole.measured) <= 13


def test_those_tuned_have_seeds_of_their_own_and_those_on_trial_one(run: Any) -> None:
    iterations = len(run.state.history) - 1
    long_one = 1
    assert len(set(run.bench.trainer.seeds)) == 2 * iterations + long_one


def test_a_group_is_probed_anew_when_it_is_much_narrower(driver: Any) -> None:
    run = driver.run("netadapt", "macs=6%", long_steps=0, first_step=0.4)
    probed: dict[str, list[int]] = {}
    for state, _ in run.journal:
        memory = Memory.model_validate(state.memory)
        if memory.stage is not Stage.PROPOSE or memory.rounds:
            continue
        now = len(state.history)
        for name in (name for name, number in memory.probed.items() if number == now):
            before = [state.history[number - 1].widths[name] for number in probed.get(name, [])]
            assert all(width >= 4 * state.widths[name] for width in before[-1:])
            probed.setdefault(name, []).append(now)
    assert max(map(len, probed.values())) == 2
    assert min(map(len, probed.values())) == 1


def test_steps_are_equal_in_what_narrowing_can_win(driver: Any) -> None:
    run = driver.run("netadapt", "latency=45%", long_steps=0, first_step=0.2)
    goals = [
        Round(run.bench, state, checkpoint, memory)._goal(memory)["latency"]
        for state, checkpoint in run.journal
        if state.memory and (memory := Memory.model_validate(state.memory)).stage is Stage.TUNE
    ]
    least = run.price({group.name: 1 for group in run.bench.network.groups.groups})
    floor = min(least["latency"].value, run.limits["latency"] / 2)
    assert floor > 0.1 * run.limits["latency"]
    costs = [cost_of(point.cost)["latency"].value for point in run.state.history]
    number = len(goals)
    for goal, cost in zip(goals, costs, strict=False):
        factor = ((run.limits["latency"] - floor) / (cost - floor)) ** (1 / number)
        assert goal == pytest.approx(floor + (cost - floor) * factor)
        number -= 1
    assert number == 0
    assert goals[-1] == pytest.approx(run.limits["latency"])


def test_as_many_finalists_as_asked_for_go_on(driver: Any) -> None:
    run = driver.run("netadapt", "macs=60%", long_steps=0, first_step=0.5, finalists=4,
                     proposals=4)  # fmt: skip
    tuned = [p for p in run.state.history[-1].proposals if p.steps == 2]
    assert len(tuned) == 4
