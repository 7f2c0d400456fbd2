"""NetAdapt as published (Yang et al., ECCV 2018): the yardstick for `netadapt`.

Each iteration tightens the constraint a little. Every group proposes its widest width that meets
the constraint, keeping the filters of largest magnitude; each proposal is briefly fine-tuned; the
one with the best hold-out accuracy is the next network. When the budget is met, the result is
fine-tuned for long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapt.budget import binding
from adapt.cost.base import Cost, Missing
from adapt.executors.base import Task
from adapt.methods.base import (
    Bench,
    Iteration,
    Phase,
    Proposal,
    State,
    cost_of,
    finish,
    meets,
    priced,
    unreachable,
)
from adapt.methods.starting import begun_unshrunk
from adapt.methods.widths import levels
from adapt.network.groups import Group
from adapt.training.finetune import Checkpoint
from adapt.training.importance import Rule, strongest

__all__ = ["NetAdaptPaper"]

# How many levels below the current width are priced at once: kernels are measured in batches, and
# a batch of four levels of every group costs little more than one level.
_LEVELS_AT_ONCE = 4

# A constraint that no single group can meet is halved at most this often before any narrower
# network will do: a staircase may need two groups to give way before the cost falls.
_HALVINGS = 5


@dataclass(frozen=True)
class _Candidate:
    group: str
    width: int
    cost: Cost


class NetAdaptPaper:
    """The paper's loop."""

    name = "netadapt-paper"
    defaults: Mapping[str, Any] = {
        "first_step": 0.05,
        "importance": Rule.L2,
        "compensate": False,
    }

    def start(self, bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
        """The unshrunk network, once a network is known to meet `limits`."""
        return begun_unshrunk(bench, limits, original)

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """One iteration, or one piece of the long fine-tune."""
        if state.phase is Phase.FINISH:
            return finish(bench, state, checkpoint)
        current = bench.pricer.price(state.widths)
        if meets(current, state.limits):
            return state.model_copy(update={"phase": Phase.FINISH}), Checkpoint(checkpoint.weights)
        return self._iterate(bench, state, checkpoint, current)

    def _iterate(
        self, bench: Bench, state: State, checkpoint: Checkpoint, current: Cost
    ) -> tuple[State, Checkpoint]:
        number = len(state.history)
        candidates = _candidates(bench, state, current, number)
        # Of the network as it is now: fine-tuning has changed it.
        importance = bench.important(checkpoint, state.keep)
        best: tuple[Proposal, dict[str, list[int]], Checkpoint] | None = None
        proposals: list[Proposal] = []
        keeps = [
            {**state.keep, each.group: strongest(importance, state.keep, each.group, each.width,
                                                 bench.network.groups)}
            for each in candidates
        ]  # fmt: skip
        outcomes = bench.executor.run(_tasks(bench, state, checkpoint, candidates, keeps))
        for candidate, keep, outcome in zip(candidates, keeps, outcomes, strict=True):
            trained = outcome.checkpoint
            assert trained is not None
            score = bench.score(keep, trained.weights, bench.data.holdout, outcome.score)
            proposal = Proposal(
                widths={candidate.group: candidate.width},
                cost=priced(candidate.cost),
                accuracy=score.accuracy,
                loss=score.loss,
                steps=bench.settings.short_steps,
            )
            proposals.append(proposal)
            if best is None or _better(proposal, best[0]):
                best = proposal, keep, trained
        assert best is not None  # `_candidates` gives one or more.
        bound = binding(
            cost_of(best[0].cost).values_by_resource, _step_limits(bench, state, current, number)
        )
        steps = bench.settings.short_steps
        return _chosen(state, number, best, proposals, steps, bound), best[2]


def _tasks(
    bench: Bench,
    state: State,
    checkpoint: Checkpoint,
    candidates: Sequence[_Candidate],
    keeps: Sequence[dict[str, list[int]]],
) -> Iterator[Task]:
    number = len(state.history)
    for count, (candidate, keep) in enumerate(zip(candidates, keeps, strict=True), 1):
        bench.notify(
            f"iteration {number}: proposal {count} of {len(candidates)},"
            f" {candidate.group} to {candidate.width}"
        )
        start = Checkpoint(bench.cut(keep, checkpoint, state.keep))
        yield bench.tuning(start, number, candidate.group)


def _chosen(
    state: State,
    number: int,
    best: tuple[Proposal, dict[str, list[int]], Checkpoint],
    proposals: list[Proposal],
    steps: int,
    bound: str,
) -> State:
    winner, keep, _ = best
    iteration = Iteration(
        number=number,
        group=winner.group,
        keep=keep,
        cost=winner.cost,
        accuracy=winner.accuracy,
        loss=winner.loss,
        proposals=[each.model_copy(update={"chosen": each == winner}) for each in proposals],
        binding=bound,
        steps=state.steps_trained + steps,
    )
    return state.model_copy(
        update={
            "keep": keep,
            "history": [*state.history, iteration],
            "steps_trained": iteration.steps,
        }
    )


def _better(left: Proposal, right: Proposal) -> bool:
    """Higher accuracy; of equals the lower loss."""
    return (left.accuracy, -left.loss) > (right.accuracy, -right.loss)


def _candidates(bench: Bench, state: State, current: Cost, number: int) -> list[_Candidate]:
    """For every group that has one, its widest width that meets this iteration's constraint.

    At least one candidate. Raises Missing with what all groups together lack, and
    BudgetUnreachable where every group is at its narrowest, which `start` rules out unless prices
    have changed since.
    """
    for halving in range(_HALVINGS + 1):
        constraint = _step_limits(bench, state, current, number, 0.5**halving)
        found = _widest(bench, state, constraint)
        if found:
            return found
    found = list(_one_level_less(bench, state))
    if not found:
        raise unreachable(current, state.limits)
    return found


def _step_limits(
    bench: Bench, state: State, current: Cost, number: int, part: float = 1.0
) -> dict[str, float]:
    """Iteration `number`'s limits: `part` of a step tighter than the current cost.

    They are not below the budget's.
    """
    settings = bench.settings
    assert settings.first_step is not None
    share = settings.first_step * settings.decay ** (number - 1) * part
    original = cost_of(state.original).values_by_resource
    return {
        name: max(limit, current[name].value - share * original[name])
        for name, limit in state.limits.items()
    }


def _widest(bench: Bench, state: State, constraint: Mapping[str, float]) -> list[_Candidate]:
    found: list[_Candidate] = []
    missing: list[Missing] = []
    for group in bench.network.groups.groups:
        try:
            candidate = _widest_of(bench, state, group, constraint)
        except Missing as lack:
            missing.append(lack)
        else:
            found += [candidate] if candidate else []
    if missing:
        raise Missing.together(missing)
    return found


def _widest_of(
    bench: Bench, state: State, group: Group, constraint: Mapping[str, float]
) -> _Candidate | None:
    below = [w for w in reversed(levels(group)) if w < state.widths[group.name]]
    for first in range(0, len(below), _LEVELS_AT_ONCE):
        priced_widths = _priced(bench, state, group, below[first : first + _LEVELS_AT_ONCE])
        for width, cost in priced_widths:
            if meets(cost, constraint):
                return _Candidate(group.name, width, cost)
    return None


def _priced(bench: Bench, state: State, group: Group, widths: list[int]) -> list[tuple[int, Cost]]:
    """Cost of the network with `group` at each of `widths`; Missing for all of them together."""
    costs: list[tuple[int, Cost]] = []
    missing: list[Missing] = []
    for width in widths:
        try:
            costs.append((width, bench.pricer.price({**state.widths, group.name: width})))
        except Missing as lack:
            missing.append(lack)
    if missing:
        raise Missing.together(missing)
    return costs


def _one_level_less(bench: Bench, state: State) -> Iterator[_Candidate]:
    """Every group one level narrower, whatever that does to the cost."""
    for group in bench.network.groups.groups:
        below = [w for w in levels(group) if w < state.widths[group.name]]
        if below:
            for width, cost in _priced(bench, state, group, below[-1:]):
                yield _Candidate(group.name, width, cost)
