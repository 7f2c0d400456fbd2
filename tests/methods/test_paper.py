"""The paper's loop, against its definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adapt.budget import within
from adapt.cost import Amount, Cost, MacCount, Origin
from adapt.errors import BudgetUnreachable
from adapt.methods.base import cost_of
from adapt.methods.paper import NetAdaptPaper
from adapt.methods.widths import levels
from adapt.network.groups import Group
from adapt.training.importance import magnitudes
from lookup_tables.kernel import Kernel


class Bottleneck:
    """A device whose latency is that of its widest convolution alone."""

    resources: frozenset[str] = frozenset({"latency"})

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        widest = max(k.outputs[0].shape[-1] for k in kernels if k.op == "CONV_2D")
        return Cost({"latency": Amount.of(Origin.ANALYTIC, float(widest))})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        return [self.price([kernel]) for kernel in kernels]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (16, list(range(1, 17))),
        (96, list(range(6, 97, 6))),
        (40, [*range(2, 41, 2)]),
        (49, [*range(3, 49, 3), 49]),
    ],
)
def test_levels(width: int, expected: list[int]) -> None:
    assert levels(Group("g", np.arange(width), ())) == expected


def test_levels_end_where_a_group_does() -> None:
    assert levels(Group("heads", np.arange(4), (), least=2)) == [2, 3, 4]
    assert levels(Group("heads", np.arange(2), (), least=2)) == [2]


def constraint_of(run: Any, number: int, halvings: int) -> dict[str, float]:
    """What iteration `number` had to meet."""
    before = cost_of(run.state.history[number - 1].cost).values_by_resource
    settings = run.bench.settings
    step = settings.first_step * settings.decay ** (number - 1) / 2**halvings
    original = run.original.values_by_resource
    return {n: max(limit, before[n] - step * original[n]) for n, limit in run.limits.items()}


def widest(run: Any, number: int, halvings: int) -> dict[str, int]:
    """For each group that can meet the constraint alone, its widest width, found one by one."""
    constraint = constraint_of(run, number, halvings)
    start = run.state.history[number - 1].widths
    found = {}
    for group in run.bench.network.groups.groups:
        for width in levels(group)[::-1]:
            if width < start[group.name]:
                cost = run.price({**start, group.name: width})
                if within(cost.values_by_resource, constraint):
                    found[group.name] = width
                    break
    return found


def halvings_of(run: Any, number: int) -> int:
    """How often iteration `number` had to ask for less; 6 where nothing helped."""
    return next((h for h in range(6) if widest(run, number, h)), 6)


@pytest.mark.parametrize(
    ("budget", "settings"),
    [
        (["macs=50%"], {"first_step": 0.12}),
        (["latency=60%", "params=60%"], {"first_step": 0.1, "decay": 0.8}),
        (["macs=20%"], {"first_step": 0.7, "decay": 0.7}),
    ],
)
def test_proposals_are_the_widest_that_meet_the_schedule(
    driver: Any, budget: list[str], settings: dict[str, float]
) -> None:
    run = driver.run("netadapt-paper", *budget, long_steps=0, short_steps=1, **settings)
    assert len(run.state.history) > 2
    halvings = []
    for point in run.state.history[1:]:
        halvings.append(halvings_of(run, point.number))
        proposed = {name: w for p in point.proposals for name, w in p.widths.items()}
        assert proposed == widest(run, point.number, halvings[-1])
        assert point.widths == {**run.state.history[point.number - 1].widths,
                                point.group: proposed[point.group]}  # fmt: skip
        reached = cost_of(point.cost).values_by_resource
        assert within(reached, constraint_of(run, point.number, halvings[-1]))
    assert max(halvings) < 6
    assert (max(halvings) > 0) == (settings["first_step"] > 0.5)


def test_the_best_proposal_wins(driver: Any) -> None:
    run = driver.run("netadapt-paper", "macs=40%", long_steps=0, first_step=0.08)
    ties = 0
    for point in run.state.history[1:]:
        ranked = sorted(point.proposals, key=lambda p: (-p.accuracy, p.loss))
        assert (point.group, point.accuracy, point.loss) == (
            ranked[0].group,
            ranked[0].accuracy,
            ranked[0].loss,
        )
        assert point.cost == ranked[0].cost
        ties += len(ranked) > 1 and ranked[0].accuracy == ranked[1].accuracy
    assert ties > 0
    assert len({point.group for point in run.state.history[1:]}) > 1


def test_the_weakest_filters_go(driver: Any) -> None:
    run = driver.run("netadapt-paper", "macs=85%", long_steps=0, first_step=0.15)
    groups = run.bench.network.groups
    importance = magnitudes(run.bench.network.weights, groups, {})
    point = run.state.history[1]
    strengths = importance[groups.groups[groups.index[point.group]].filters]
    kept = np.isin(np.arange(len(strengths)), point.keep[point.group])
    assert strengths[kept].min() >= strengths[~kept].max()


def test_later_choices_are_by_the_weights_as_they_are_then(driver: Any) -> None:
    run = driver.run("netadapt-paper", "macs=70%", long_steps=0, first_step=0.1, short_rate=0.01)
    groups = run.bench.network.groups
    for (before, checkpoint), (after, _) in zip(run.journal, run.journal[1:], strict=False):
        if len(after.history) == len(before.history):
            continue
        name = after.history[-1].group
        importance = magnitudes(checkpoint.weights, groups, before.keep)
        strengths = importance[groups.groups[groups.index[name]].filters]
        gone = sorted(set(before.keep[name]) - set(after.keep[name]))
        assert strengths[after.keep[name]].min() >= strengths[gone].max()


def test_where_no_group_alone_can_lower_the_cost(driver: Any) -> None:
    run = driver.run(
        "netadapt-paper", "latency=60%", model=Bottleneck(), short_steps=1, long_steps=0
    )
    latency = [cost_of(p.cost)["latency"].value for p in run.state.history]
    assert latency[0] == latency[1] == 96  # Two groups are equally wide: one step lowers nothing.
    assert latency[-1] <= 0.6 * 96
    assert latency == sorted(latency, reverse=True)
    full = run.bench.network.widths
    first = run.state.history[1]
    assert halvings_of(run, 1) == 6
    assert {name: w for p in first.proposals for name, w in p.widths.items()} == {
        g.name: levels(g)[-2] for g in run.bench.network.groups.groups
    }
    assert sum(full[name] != width for name, width in first.widths.items()) == 1


def test_the_least_cost_is_named(driver: Any) -> None:
    bench = driver.bench("netadapt-paper", ["macs"], MacCount())
    network = bench.network
    narrowest = {group.name: levels(group)[0] for group in network.groups.groups}
    least = bench.pricer.price(narrowest)["macs"].value
    original = bench.pricer.price({})
    state = NetAdaptPaper().start(bench, {"macs": least}, original)
    assert state.limits == {"macs": least}
    with pytest.raises(BudgetUnreachable, match=rf"macs {least / 1e3:.1f} k at the least"):
        NetAdaptPaper().start(bench, {"macs": least - 1}, original)


def test_prices_that_rose_since_the_start(driver: Any) -> None:
    run = driver.run("netadapt-paper", "macs=80%", short_steps=0, long_steps=0, first_step=0.4)
    state, checkpoint = run.journal[0]
    narrowest = {g.name: list(range(levels(g)[0])) for g in run.bench.network.groups.groups}
    stuck = state.model_copy(update={"keep": narrowest, "limits": {"macs": 1.0}})
    with pytest.raises(BudgetUnreachable, match="asked for"):
        NetAdaptPaper().step(run.bench, stuck, checkpoint)


def test_every_proposal_has_a_seed_of_its_own(driver: Any) -> None:
    run = driver.run("netadapt-paper", "macs=70%", short_steps=1, long_steps=1)
    seeds = run.bench.trainer.seeds
    assert len(seeds) == 1 + sum(len(point.proposals) for point in run.state.history)
    assert len(set(seeds)) == len(seeds)


def test_progress_is_told(driver: Any) -> None:
    driver.lines.clear()
    run = driver.run("netadapt-paper", "macs=80%", short_steps=0, long_steps=150, first_step=0.3)
    first = [line for line in driver.lines if line.startswith("iteration 1: proposal ")]
    assert len(first) == len(run.state.history[1].proposals)
    assert driver.lines[-2:] == [
        "fine-tuning the result, step 100 of 150",
        "fine-tuning the result, step 150 of 150",
    ]
