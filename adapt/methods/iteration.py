"""The stages of one iteration of `netadapt`, each a pure function of what is remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

from adapt.budget import binding
from adapt.cost.base import Cost
from adapt.methods.base import (
    Bench,
    Iteration,
    Proposal,
    State,
    cost_of,
    label,
    priced,
    unreachable,
)
from adapt.methods.landscape import Landscape, Widths, together
from adapt.methods.memory import Memory, Stage, Trial, distinct, ranked_trials
from adapt.methods.proposals import mended, proposals
from adapt.methods.screening import Screening
from adapt.training.finetune import Checkpoint, derive_seed
from adapt.training.scores import Score

__all__ = ["Round"]

_T = TypeVar("_T")

# Groups that an iteration probes, those first that were not for longest.
_PROBES = 16

# A group is probed at a width at which it gives this part of what the iteration has to save, or
# more where there are few groups: about as deep as it will be cut together with others.
_PROBED_PART = 0.6

# Rounds of proposals in an iteration, and usual proposals in a round: on trial, and untrained.
_ON_TRIAL = (2, 2)
_UNTRAINED = (3, 10)

# Networks that are measured whole, and how often they are changed before the nearest must do.
_MEASURED, _MOST_VERIFIED = 3, 3

# Where a network should end, as a share of its limit: measured again at the end it must still be
# within the limit, and no more than 2 % below.
_AIM, _HIGHEST, _LOWEST = 0.99, 0.995, 0.982

# By chance a narrower network may be better; that says nothing of narrower ones still.
_LEAST_GROWTH = 5e-3

# An iteration more for the last percents is not worth it: the step is this much longer at most.
_LONGER = 0.25


@dataclass(frozen=True)
class Round:
    """One iteration under way: `state` is that of its beginning but for its memory."""

    bench: Bench
    state: State
    checkpoint: Checkpoint
    memory: Memory

    @property
    def number(self) -> int:
        """That of the iteration, from 1."""
        return len(self.state.history)

    def probe(self) -> State:
        """Screen the network as it is, and with single groups narrowed."""
        memory = self.memory.model_copy(update={"left": self._iterations_left()})
        if memory.left == 1:
            memory = memory.model_copy(update={"corrections": self._corrections()})
        widths = self._probes(self._landscape(memory), memory)
        base = self._screened([self.state.widths], "the network as it is")[0]
        trials = self._screened(list(widths.values()), "probe")
        sensitivities = dict(memory.sensitivities)
        for name, trial in zip(widths, trials, strict=True):
            removed = self._screening.removed(trial.widths)[name]
            growth = max(trial.outlook - base.outlook, _LEAST_GROWTH)
            sensitivities[name] = growth / max(removed, 1e-9)
        update = {
            "stage": Stage.PROPOSE,
            "base_loss": base.outlook,
            "sensitivities": sensitivities,
            "probed": {**memory.probed, **dict.fromkeys(widths, self.number)},
        }
        return self._with(memory.model_copy(update=update))

    def propose(self) -> State:
        """Screen a round of proposals, and learn from them how sensitive the groups are."""
        memory, landscape = self.memory, self._landscape(self.memory)
        ranked = ranked_trials(memory.trials)
        seen = [trial.widths for trial in ranked]
        seed = derive_seed(self.bench.seed, self.number, memory.rounds)
        expected = self._screening.expected(memory)
        found = proposals(landscape, expected, seen, self._many[1], seed)
        if not found and not seen:
            if memory.corrections:  # Prices alone can be met; what is measured decides later.
                return self._with(memory.model_copy(update={"corrections": {}}))
            raise unreachable(landscape.cost(landscape.scaled()), self.state.limits)
        trials = self._screened(found, "proposal", [landscape.cost(widths) for widths in found])
        for trial in trials:
            growth = max(trial.outlook - memory.base_loss, _LEAST_GROWTH)
            memory = memory.learnt(self._screening.removed(trial.widths), growth)
        rounds, stage = memory.rounds + 1, Stage.PROPOSE
        if rounds == self._many[0]:
            stage = Stage.VERIFY if memory.left == 1 else Stage.TUNE
        update = {"trials": [*memory.trials, *trials], "rounds": rounds, "stage": stage}
        return self._with(memory.model_copy(update=update))

    def verify(self) -> State:
        """Measure the best; those that are not just below the limits are changed until they are."""
        memory = self.memory
        best = self._unwasteful(ranked_trials(memory.trials))[:_MEASURED]
        costs = together(partial(self.bench.pricer.measured, trial.widths) for trial in best)
        used = [self._used(cost) for cost in costs]
        trials = [
            trial.model_copy(update={"measured": priced(cost)})
            for trial, cost in zip(best, costs, strict=True)
        ]
        good = [_LOWEST <= share <= _HIGHEST for share in used]
        within = [*memory.within]
        for trial, share in zip(trials, used, strict=True):
            if share <= 1.0 and all(trial.widths != other.widths for other in within):
                within.append(trial)
        if all(good) or memory.verified >= _MOST_VERIFIED:
            fitting = [trial for trial, fits in zip(trials, good, strict=True) if fits]
            fitting = fitting or within or [trials[used.index(min(used))]]
            others = [trial for trial in memory.trials if trial not in best]
            update: dict[str, object] = {"stage": Stage.TUNE, "trials": [*fitting, *others]}
            return self._with(memory.model_copy(update=update))
        bad = [pair for pair, fits in zip(zip(best, costs, strict=True), good, strict=True)
               if not fits]  # fmt: skip
        kept = [trial for trial, fits in zip(trials, good, strict=True) if fits]
        near = together(partial(self._mended, trial, cost) for trial, cost in bad)
        changed = distinct(near, [trial.widths for trial in kept])
        changes: dict[str, object] = {
            "trials": [*kept, *changed],
            "verified": memory.verified + 1,
            "within": within,
        }
        return self._with(memory.model_copy(update=changes))

    def tune(self) -> tuple[State, Checkpoint]:
        """Fine-tune the best proposals briefly; the one of least loss goes on, and is the next."""
        bench, settings = self.bench, self.bench.settings
        ranked = ranked_trials(self.memory.trials)
        verified = [trial for trial in ranked if trial.measured]
        finalists = (verified or ranked)[: settings.finalists]
        outcomes = self._screening.tuned(
            (trial.widths for trial in self._announced(finalists, "tuning")), settings.short_steps
        )
        tuned = [
            (self._proposal(trial, score), trial, trained)
            for trial, (score, trained) in zip(finalists, outcomes, strict=True)
        ]
        winner, trial, trained = min(tuned, key=lambda each: each[0].loss)
        bench.notify(f"iteration {self.number}: tuning the best further")
        steps = settings.short_steps + settings.settling_steps
        trained = self._screening.settled(trial.widths, trained, steps)
        weights = bench.trainer.renewed(trained.weights)
        score = self._screening.judged(trial.widths, weights)
        shown = [proposal for proposal, _, _ in tuned if proposal is not winner]
        shown += [self._proposal(trial) for trial in ranked if trial not in finalists]
        point = Iteration(
            number=self.number,
            group=label(winner.widths),
            keep=self._screening.chosen(trial.widths),
            cost=trial.cost,
            accuracy=score.accuracy,
            loss=score.loss,
            proposals=[winner.model_copy(update={"chosen": True}), *shown],
            measured=trial.measured if bench.pricer.measurable else None,
            binding=self._binding(trial),
        )
        return self._advanced(point, steps), Checkpoint(weights)

    def _unwasteful(self, ranked: Sequence[Trial]) -> Sequence[Trial]:
        """The trials that leave no more than 2 % of the budget unused; all where there are none.

        What can be measured is seen to afterwards.
        """
        limits = self.state.limits
        if not limits or self.bench.pricer.measurable & limits.keys():
            return ranked
        near = [
            trial
            for trial in ranked
            if max(sum(trial.cost[n].values()) / limit for n, limit in limits.items()) >= _LOWEST
        ]
        return near or ranked

    @property
    def _many(self) -> tuple[int, int]:
        """Rounds, and proposals in each."""
        rounds, usual = _ON_TRIAL if self.bench.settings.trial_steps else _UNTRAINED
        return rounds, self.bench.settings.proposals or usual

    @cached_property
    def _screening(self) -> Screening:
        return Screening(self.bench, self.number, self.state.keep, self.checkpoint)

    def _iterations_left(self) -> int:
        """Up to the budget, this one included, each of which lowers costs by an equal factor."""
        current = self.bench.pricer.price(self.state.widths).values_by_resource
        step = self.bench.settings.first_step
        assert step is not None
        limits = self._limits(self.memory)
        gap = max(math.log(current[name] / limit) for name, limit in limits.items())
        longest = -math.log(1 - min(step, 0.9))
        return max(1, math.ceil(gap / longest - _LONGER))

    def _landscape(self, memory: Memory) -> Landscape:
        """Ways from the network as it is to this iteration's goal."""
        groups, price = self.bench.network.groups.groups, self.bench.pricer.price
        return Landscape(groups, self.state.widths, self._goal(memory), price)

    def _goal(self, memory: Memory) -> dict[str, float]:
        """This iteration's limits."""
        current = self.bench.pricer.price(self.state.widths).values_by_resource
        return {
            # A resource that is within its limit may grow up to it.
            name: max(limit, limit * (current[name] / limit) ** (1 - 1 / memory.left))
            for name, limit in self._limits(memory).items()
        }

    def _binding(self, trial: Trial) -> str:
        """The limit that the network of `trial` comes nearest to: as measured, if it was."""
        if trial.measured is not None:
            return binding(cost_of(trial.measured).values_by_resource, self.state.limits)
        return binding(cost_of(trial.cost).values_by_resource, self._goal(self.memory))

    def _limits(self, memory: Memory) -> dict[str, float]:
        """The limits as prices have to meet them, so that measurements meet the budget's."""
        return {
            name: limit * (_AIM / memory.corrections[name] if name in memory.corrections else 1.0)
            for name, limit in self.state.limits.items()
        }

    def _corrections(self) -> dict[str, float]:
        """By how much the network as it is exceeds its price, by what can be measured."""
        measured = self.bench.pricer.measured(self.state.widths)
        price = self.bench.pricer.price(self.state.widths)
        return {
            name: measured[name].value / price[name].value
            for name in self.state.limits
            if name in self.bench.pricer.measurable
        }

    def _probes(self, landscape: Landscape, memory: Memory) -> dict[str, Widths]:
        """For each group to probe, the network's widths with this group narrowed."""
        groups = [name for name, options in landscape.options.items() if options]
        if self.bench.settings.trial_steps:
            # What trials show of a group is learnt from: to probe it once is enough.
            groups = [name for name in groups if name not in memory.probed]
        waiting = sorted(groups, key=lambda name: memory.probed.get(name, -1))[:_PROBES]
        part = max(_PROBED_PART, 1.5 / max(len(groups), 1))
        return {
            name: {
                **self.state.widths,
                name: min(landscape.options[name], key=lambda o: abs(o.won - part)).width,
            }
            for name in waiting
        }

    def _screened(
        self, candidates: Sequence[Widths], what: str, costs: Sequence[Cost] = ()
    ) -> list[Trial]:
        """Each of `candidates`, of these `costs` where they count, on trial."""
        known: Sequence[Cost | None] = costs or [None] * len(candidates)
        announced = self._announced(list(zip(candidates, known, strict=True)), what)
        return list(self._screening.screened(announced))

    def _announced(self, items: Sequence[_T], what: str) -> Iterator[_T]:
        """Each of `items`, with a word about it when it is taken."""
        for count, item in enumerate(items, 1):
            of = f" {count} of {len(items)}" if len(items) > 1 else ""
            self.bench.notify(f"iteration {self.number}: {what}{of}")
            yield item

    def _used(self, cost: Cost) -> float:
        """The largest share of its limit that `cost` uses, of what can be measured."""
        names = [name for name in self.state.limits if name in self.bench.pricer.measurable]
        return max((cost[n].value / self.state.limits[n] for n in names), default=_AIM)

    def _mended(self, trial: Trial, measured: Cost) -> Trial:
        """A network near to that of `trial` that just meets the limits, by what it was measured at.

        Its outlook differs by what sensitivities say of the few filters more or less.
        """
        price = self.bench.pricer.price(trial.widths)
        goal = {
            name: _HIGHEST * limit * price[name].value / measured[name].value
            if name in self.bench.pricer.measurable
            else limit
            for name, limit in self.state.limits.items()
        }
        groups, expected = self.bench.network.groups.groups, self._screening.expected(self.memory)
        landscape = Landscape(groups, self.state.widths, goal, self.bench.pricer.price)
        widths, more = mended(landscape, expected, trial.widths, _LOWEST / _HIGHEST)
        update = {"widths": widths, "cost": priced(landscape.cost(widths)), "measured": None}
        return trial.model_copy(update={**update, "outlook": trial.outlook + more})

    def _proposal(self, trial: Trial, score: Score | None = None) -> Proposal:
        """Of `trial`, as it was after that, or as it was tuned to have this `score`."""
        before, settings = self.state.widths, self.bench.settings
        quality = score or trial
        steps = settings.short_steps if score else settings.trial_steps
        return Proposal(
            widths={name: w for name, w in trial.widths.items() if w != before[name]},
            cost=trial.cost,
            accuracy=quality.accuracy,
            loss=quality.loss,
            steps=steps,
        )

    def _advanced(self, point: Iteration, steps: int) -> State:
        """The state after this iteration, whose best network is `point` after so many steps."""
        memory = self.memory
        stage = Stage.END if memory.left == 1 else Stage.PROBE
        kept = Memory(stage=stage, sensitivities=memory.sensitivities, probed=memory.probed)
        update = {
            "keep": point.keep,
            "history": [*self.state.history, point],
            "steps_trained": self.state.steps_trained + steps,
            "memory": kept.model_dump(mode="json"),
        }
        return self.state.model_copy(update=update)

    def _with(self, memory: Memory) -> State:
        return self.state.model_copy(update={"memory": memory.model_dump(mode="json")})
