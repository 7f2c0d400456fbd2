"""The stages of one iteration of `netadapt`, each a pure function of what is remembered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    unreachable,
)
from adapt.methods.landscape import Landscape, Widths
from adapt.methods.memory import Memory, Stage, Trial, ranked_trials
from adapt.methods.proposals import proposals
from adapt.methods.screening import Screening
from adapt.methods.verification import AIM, Verification
from adapt.methods.widths import levels
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

# How often some networks are measured whole before the nearest must do.
_MOST_VERIFIED = 6

# Of a limit, the part at most that no narrowing wins: near that, the first steps would be too deep.
_MOST_FIXED = 0.5

# A group is probed again when it has so much less than it had when it was: narrow ones lose more.
_PROBED_ANEW = 4

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
        """Measure the best, and networks near to those that are not just below the limits."""
        memory = self.memory
        verification = Verification(self.bench, self.state, self._screening.expected(memory))
        asked = memory.asked or verification.worth_it(memory.trials)
        known = [*memory.measured, *verification.measured(asked)]
        last = memory.verified + 1 == _MOST_VERIFIED
        near = [] if last else verification.changed(known)
        update = {"asked": near, "measured": known, "verified": memory.verified + 1}
        if not near:
            chosen = verification.chosen(known)
            others = [t for t in memory.trials if all(t.widths != c.widths for c in chosen)]
            update.update(stage=Stage.TUNE, trials=[*chosen, *others])
        return self._with(memory.model_copy(update=update))

    def tune(self) -> tuple[State, Checkpoint]:
        """Fine-tune the best proposals briefly; the one of least loss goes on, and is the next."""
        bench, settings = self.bench, self.bench.settings
        ranked = ranked_trials(self.memory.trials)
        verified = [trial for trial in ranked if trial.measured]
        finalists = (verified or ranked)[: settings.finalists]
        tuned = self._compared(finalists)
        best = min(range(len(tuned)), key=lambda number: tuned[number][0].loss, default=0)
        trial, steps = finalists[best], settings.short_steps + settings.settling_steps
        bench.notify(f"iteration {self.number}: tuning the best{' further' if tuned else ''}")
        brief = tuned[best][1] if tuned else self._screening.begun(trial.widths)
        trained = self._screening.settled(trial.widths, brief, steps)
        weights = bench.trainer.renewed(trained.weights)
        score = self._screening.judged(trial.widths, weights)
        compared = [
            self._proposal(each, after, settings.short_steps)
            for each, (after, _) in zip(finalists, tuned, strict=False)
        ]
        shown = compared or [self._proposal(trial, score, steps)]
        winner = shown.pop(best).model_copy(update={"chosen": True})
        others = [self._proposal(each) for each in ranked if each not in finalists]
        point = Iteration(
            number=self.number,
            group=label(winner.widths),
            keep=self._screening.chosen(trial.widths),
            cost=trial.cost,
            accuracy=score.accuracy,
            loss=score.loss,
            proposals=[winner, *shown, *others],
            measured=trial.measured if bench.pricer.measurable else None,
            binding=self._binding(trial),
            steps=self.state.steps_trained + steps,
        )
        return self._advanced(point), Checkpoint(weights)

    @property
    def _many(self) -> tuple[int, int]:
        """Rounds, and proposals in each."""
        rounds, usual = _ON_TRIAL if self.bench.settings.trial_steps else _UNTRAINED
        return rounds, self.bench.settings.proposals or usual

    @cached_property
    def _screening(self) -> Screening:
        return Screening(self.bench, self.number, self.state.keep, self.checkpoint)

    def _iterations_left(self) -> int:
        """Up to the budget, this one included; as if each lowered costs by the first step."""
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
        """This iteration's limits: each lowers what narrowing can win by an equal factor."""
        current = self.bench.pricer.price(self.state.widths).values_by_resource
        least = self.bench.pricer.price(self._narrowest).values_by_resource
        goal = {}
        for name, limit in self._limits(memory).items():
            # Steps of equal factors of the whole cost would grow ever deeper.
            floor = min(least[name], limit * _MOST_FIXED)
            over = max(current[name] - floor, 0.0) / (limit - floor)
            # A resource that is within its limit may grow up to it.
            goal[name] = max(limit, floor + (limit - floor) * over ** (1 - 1 / memory.left))
        return goal

    @property
    def _narrowest(self) -> dict[str, int]:
        return {group.name: levels(group)[0] for group in self.bench.network.groups.groups}

    def _binding(self, trial: Trial) -> str:
        """The limit that the network of `trial` comes nearest to: as measured, if it was."""
        if trial.measured is not None:
            return binding(cost_of(trial.measured).values_by_resource, self.state.limits)
        return binding(cost_of(trial.cost).values_by_resource, self._goal(self.memory))

    def _limits(self, memory: Memory) -> dict[str, float]:
        """The limits as prices have to meet them, so that measurements meet the budget's."""
        return {
            name: limit * (AIM / memory.corrections[name] if name in memory.corrections else 1.0)
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
            # What trials show of a group is learnt from: to probe it once is mostly enough.
            groups = [name for name in groups if self._due(name, memory)]
        waiting = sorted(groups, key=lambda name: memory.probed.get(name, -1))[:_PROBES]
        part = max(_PROBED_PART, 1.5 / max(len(groups), 1))
        return {
            name: {
                **self.state.widths,
                name: min(landscape.options[name], key=lambda o: abs(o.won - part)).width,
            }
            for name in waiting
        }

    def _due(self, group: str, memory: Memory) -> bool:
        """Whether `group` was not probed, or when it was much wider."""
        if (last := memory.probed.get(group)) is None:
            return True
        then = self.state.history[last - 1].widths[group]
        return then >= _PROBED_ANEW * self.state.widths[group]

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

    def _compared(self, finalists: Sequence[Trial]) -> list[tuple[Score, Checkpoint]]:
        """What brief tuning makes of each; nothing where there is only one to choose from."""
        if len(finalists) == 1:
            return []
        widths = (trial.widths for trial in self._announced(finalists, "tuning"))
        return list(self._screening.tuned(widths, self.bench.settings.short_steps))

    def _proposal(self, trial: Trial, score: Score | None = None, steps: int = 0) -> Proposal:
        """Of `trial`, as it was after that, or as `steps` of tuning made it have this `score`."""
        before, quality = self.state.widths, score or trial
        return Proposal(
            widths={name: w for name, w in trial.widths.items() if w != before[name]},
            cost=trial.cost,
            accuracy=quality.accuracy,
            loss=quality.loss,
            steps=steps if score else self.bench.settings.trial_steps,
        )

    def _advanced(self, point: Iteration) -> State:
        """The state after this iteration, whose best network is `point`."""
        memory = self.memory
        stage = Stage.END if memory.left == 1 else Stage.PROBE
        kept = Memory(stage=stage, sensitivities=memory.sensitivities, probed=memory.probed)
        update = {
            "keep": point.keep,
            "history": [*self.state.history, point],
            "steps_trained": point.steps,
            "memory": kept.model_dump(mode="json"),
        }
        return self.state.model_copy(update=update)

    def _with(self, memory: Memory) -> State:
        return self.state.model_copy(update={"memory": memory.model_dump(mode="json")})
