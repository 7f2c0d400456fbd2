"""NetAdapt with many candidates: screened untrained, the best fine-tuned, measured as a whole.

Each iteration lowers the cost by a share of what is left, so that the last ends at the budget:

1. Probe: narrow single groups, find the statistics of batch normalisations anew, look at the loss
   on held-out examples. That tells how sensitive the groups are.
2. Propose, twice: combinations of groups that win the most cost for the least expected loss, with
   random doubts about what is expected; screened in the same way, which corrects expectations.
3. In the last iteration, verify: measure the best whole on the device. Prices are corrected by what
   they show, and networks proposed again where none is near to the budget and below it.
4. Tune: fine-tune the few best briefly; the one with the lowest loss is the next network.

`paper.py` is the procedure as published.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt.cost.base import Cost, Missing
from adapt.methods.base import (
    Bench,
    Iteration,
    Phase,
    Proposal,
    State,
    begun,
    cost_of,
    finish,
    full_keep,
    label,
    meets,
    priced,
    unreachable,
)
from adapt.methods.landscape import Landscape, Lost, Widths
from adapt.methods.memory import Memory, Stage, Trial
from adapt.methods.widths import levels
from adapt.training.finetune import Checkpoint, Schedule, derive_seed
from adapt.training.importance import Rule, strongest

__all__ = ["NetAdapt"]

# Groups that an iteration probes, those first that were not for longest.
_PROBES = 16

# Rounds of proposals in an iteration, and proposals in a round.
_ROUNDS = 2
_PER_ROUND = 10

# How widely the proposals of a round doubt the sensitivities: standard deviations of a lognormal
# factor. The first takes them as they are.
_DOUBTS = (0.0, 0.3, 0.6, 1.0)

# Networks that are measured whole, and how often they are changed before the nearest must do.
_MEASURED = 3
_MOST_VERIFIED = 3

# Where a network should end, as a share of its limit: measured again at the end it must still be
# within the limit, and no more than 2 % below.
_AIM, _HIGHEST, _LOWEST = 0.99, 0.996, 0.98


class NetAdapt:
    """The search described above."""

    name = "netadapt"
    defaults: Mapping[str, Any] = {
        "first_step": 0.13,
        "importance": Rule.ACTIVATION,
        "compensate": True,
    }

    def start(self, bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
        """The unshrunk network, once the narrowest network is known to meet `limits`."""
        narrowest = {g.name: levels(g)[0] for g in bench.network.groups.groups}
        least = bench.pricer.price(narrowest)
        if not meets(least, limits):
            raise unreachable(least, limits)
        return begun(bench, limits, original, (0, ""), full_keep(bench.network), original)

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """One stage of an iteration, or one piece of the long fine-tune."""
        if state.phase is Phase.FINISH:
            return finish(bench, state, checkpoint)
        if not state.memory and meets(bench.pricer.price(state.widths), state.limits):
            return _finished(state), Checkpoint(checkpoint.weights)
        iteration = _Iteration(bench, state, checkpoint, Memory.model_validate(state.memory))
        match iteration.memory.stage:
            case Stage.PROBE:
                return iteration.probe(), checkpoint
            case Stage.PROPOSE:
                return iteration.propose(), checkpoint
            case Stage.VERIFY:
                return iteration.verify(), checkpoint
            case Stage.TUNE:
                return iteration.tune()


def _finished(state: State) -> State:
    return state.model_copy(update={"phase": Phase.FINISH, "memory": {}})


@dataclass(frozen=True)
class _Iteration:
    """One iteration under way."""

    bench: Bench
    state: State
    checkpoint: Checkpoint
    memory: Memory

    @property
    def number(self) -> int:
        return len(self.state.history)

    @property
    def left(self) -> int:
        """Iterations up to the budget, this one included, each lowering costs by equal factors."""
        current = self.bench.pricer.price(self.state.widths).values_by_resource
        limits = self._limits()
        step = self.bench.settings.first_step
        assert step is not None
        gap = max(math.log(current[name] / limit) for name, limit in limits.items())
        # Not one more for the last percents, which then get a step of their own.
        return max(1, math.ceil(gap / -math.log(1 - min(step, 0.9)) - 0.25))

    def probe(self) -> State:
        """Screen the network as it is, and with single groups narrowed."""
        memory, bench, groups = self.memory, self.bench, self.bench.network.groups.groups
        if self.left == 1:
            memory = self._corrected(memory, [self.state.widths])
        iteration = _Iteration(bench, self.state, self.checkpoint, memory)
        landscape = iteration.landscape()
        waiting = sorted(
            (name for name in (g.name for g in groups) if landscape.options[name]),
            key=lambda name: memory.probed.get(name, -1),
        )[:_PROBES]
        # The option nearest to a part of the way: as deep as it will be cut among others.
        part = 1.5 / max(1, min(len(groups), 4))
        probes = {
            name: min(landscape.options[name], key=lambda o: abs(o.won - part)).width
            for name in waiting
        }
        base = iteration._screen(self.state.widths, "the network as it is")
        memory = memory.model_copy(update={"base_loss": base.loss})
        shares = iteration._shares()
        sensitivities = dict(memory.sensitivities)
        for count, (name, width) in enumerate(probes.items(), 1):
            trial = iteration._screen(
                {**self.state.widths, name: width}, f"probe {count} of {len(probes)}"
            )
            share = max(shares[name][width], 1e-9)
            sensitivities[name] = max(trial.loss - base.loss, 1e-3) / share
        return iteration._with(
            memory.model_copy(
                update={
                    "stage": Stage.PROPOSE,
                    "sensitivities": sensitivities,
                    "probed": {**memory.probed, **dict.fromkeys(probes, self.number)},
                }
            )
        )

    def propose(self) -> State:
        """Screen a round of proposals, and learn from them how sensitive the groups are."""
        landscape, memory, shares = self.landscape(), self.memory, self._shares()
        proposals = self._proposals(landscape, shares)
        for count, widths in enumerate(proposals, 1):
            trial = self._screen(
                widths,
                f"proposal {memory.rounds * _PER_ROUND + count} of {_ROUNDS * _PER_ROUND}",
                landscape.cost(widths),
            )
            removed = {name: shares[name][w] for name, w in widths.items() if w in shares[name]}
            memory = memory.learnt(removed, trial.loss - memory.base_loss)
            memory = memory.model_copy(update={"trials": [*memory.trials, trial]})
        rounds = memory.rounds + 1
        stage = memory.stage
        if rounds == _ROUNDS:
            stage = Stage.VERIFY if self.left == 1 else Stage.TUNE
        return self._with(memory.model_copy(update={"rounds": rounds, "stage": stage}))

    def verify(self) -> State:
        """Measure the best; those that are not just below the limits are changed until they are."""
        memory = self.memory
        best = sorted(memory.trials, key=lambda trial: trial.loss)[:_MEASURED]
        costs = _all(self.bench, [trial.widths for trial in best])
        used = [self._used(cost) for cost in costs]
        trials = [
            trial.model_copy(update={"measured": priced(cost)})
            for trial, cost in zip(best, costs, strict=True)
        ]
        good = [_LOWEST <= share <= _HIGHEST for share in used]
        if all(good) or memory.verified >= _MOST_VERIFIED:
            fitting = [trial for trial, fits in zip(trials, good, strict=True) if fits]
            fitting = fitting or [t for t, share in zip(trials, used, strict=True) if share <= 1.0]
            fitting = fitting or [trials[used.index(min(used))]]
            return self._with(memory.model_copy(update={"stage": Stage.TUNE, "trials": fitting}))
        mended = [
            None if fits else self._mended(trial, cost)
            for trial, cost, fits in zip(best, costs, good, strict=True)
        ]
        rest = [
            trial if new is None else self._screen(*new)
            for trial, new in zip(trials, mended, strict=True)
        ]
        update = {"trials": rest, "verified": memory.verified + 1}
        return self._with(memory.model_copy(update=update))

    def _mended(self, trial: Trial, measured: Cost) -> tuple[Widths, str, Cost]:
        """Widths near to those of `trial` that meet the limits, by what it was measured at."""
        price = self.bench.pricer.price(trial.widths)
        goal = {
            name: _AIM * limit * price[name].value / measured[name].value
            if name in self.bench.pricer.measurable
            else limit
            for name, limit in self.state.limits.items()
        }
        groups, shares = self.bench.network.groups.groups, self._shares()
        landscape = Landscape(groups, self.state.widths, goal, self.bench.pricer.price)
        widths = landscape.mended(trial.widths, self._expected(shares))
        return widths, "mending a proposal", landscape.cost(widths)

    def tune(self) -> tuple[State, Checkpoint]:
        """Fine-tune the best proposals briefly; the one of least loss is the next network."""
        bench, settings = self.bench, self.bench.settings
        measured = [trial for trial in self.memory.trials if trial.measured]
        eligible = sorted(measured or self.memory.trials, key=lambda t: t.loss)
        finalists = eligible[: settings.finalists]
        best: tuple[float, Trial, Proposal, Checkpoint, dict[str, list[int]]] | None = None
        proposals = [self._proposal(t) for t in self.memory.trials if t not in finalists]
        for count, trial in enumerate(finalists, 1):
            bench.notify(f"iteration {self.number}: tuning {count} of {len(finalists)}")
            keep = self._keep(trial.widths)
            trained = self._tuned(trial, settings.short_steps)
            score = bench.trainer.score(bench.trainer.renewed(trained.weights), bench.holdout)
            proposal = self._proposal(trial).model_copy(
                update={
                    "accuracy": score.accuracy,
                    "loss": score.loss,
                    "steps": settings.short_steps,
                }
            )
            proposals.append(proposal)
            if best is None or score.loss < best[0]:
                best = score.loss, trial, proposal, trained, keep
        assert best is not None
        _, trial, winner, trained, keep = best
        bench.notify(f"iteration {self.number}: tuning the best")
        steps = settings.short_steps + settings.settling_steps
        weights = bench.trainer.renewed(self._tuned(trial, steps, trained).weights)
        point = Iteration(
            number=self.number,
            group=label(winner.widths),
            keep=keep,
            cost=trial.cost,
            accuracy=winner.accuracy,
            loss=winner.loss,
            proposals=[p.model_copy(update={"chosen": p == winner}) for p in proposals],
            measured=trial.measured,
        )
        memory = Memory(
            sensitivities=self.memory.sensitivities,
            probed=self.memory.probed,
            corrections=self.memory.corrections,
        )
        state = self.state.model_copy(
            update={
                "keep": keep,
                "history": [*self.state.history, point],
                "steps_trained": self.state.steps_trained + steps,
                "memory": memory.model_dump(mode="json"),
            }
        )
        return (_finished(state) if self.left == 1 else state), Checkpoint(weights)

    def _tuned(self, trial: Trial, until: int, start: Checkpoint | None = None) -> Checkpoint:
        """The network of `trial` after so many steps; `start` is the same after fewer."""
        bench, settings = self.bench, self.bench.settings
        if start is None:
            start = Checkpoint(
                bench.cut(self._keep(trial.widths), self.checkpoint, self.state.keep)
            )
        schedule = Schedule(settings.short_rate, until, cosine=False)
        seed = derive_seed(bench.seed, self.number, *trial.widths.values())
        return bench.trainer.train(start, schedule, seed=seed)

    def landscape(self) -> Landscape:
        """Ways from the network as it is to this iteration's goal."""
        current = self.bench.pricer.price(self.state.widths).values_by_resource
        left = self.left
        goal = {
            name: min(max(current[name], limit), limit * (current[name] / limit) ** (1 - 1 / left))
            for name, limit in self._limits().items()
        }
        groups = self.bench.network.groups.groups
        return Landscape(groups, self.state.widths, goal, self.bench.pricer.price)

    def _limits(self) -> dict[str, float]:
        """The limits as prices have to meet them, so that measurements meet the budget's."""
        return {
            name: limit * (_AIM / self.memory.corrections[name])
            if name in self.memory.corrections
            else limit
            for name, limit in self.state.limits.items()
        }

    def _corrected(self, memory: Memory, versions: Sequence[Mapping[str, int]]) -> Memory:
        """With corrections from whole networks of these widths."""
        measured = _all(self.bench, versions)
        predicted = [self.bench.pricer.price(widths) for widths in versions]
        corrections = {
            name: statistics.median(
                m[name].value / p[name].value for m, p in zip(measured, predicted, strict=True)
            )
            for name in self.state.limits
            if name in self.bench.pricer.measurable
        }
        return memory.model_copy(update={"corrections": corrections})

    def _used(self, cost: Cost) -> float:
        """The largest share of its limit that `cost` uses, of measured resources."""
        names = [n for n in self.state.limits if n in self.bench.pricer.measurable]
        return max((cost[n].value / self.state.limits[n] for n in names), default=_AIM)

    def _proposals(
        self, landscape: Landscape, shares: Mapping[str, Mapping[int, float]]
    ) -> list[Widths]:
        """Widths that reach the goal and were not screened yet, at least one in the first round."""
        seen = [trial.widths for trial in self.memory.trials]
        found: list[Widths] = []
        missing: list[Missing] = []
        for source in self._sources(landscape, shares):
            try:
                widths = source()
            except Missing as lack:
                missing.append(lack)
                continue
            if widths not in seen and widths not in found and landscape.meets(widths):
                found.append(widths)
        if missing:
            raise Missing.together(missing)
        if not found and not seen:
            raise unreachable(landscape.cost(landscape.scaled()), self.state.limits)
        return found[:_PER_ROUND]

    def _sources(
        self, landscape: Landscape, shares: Mapping[str, Mapping[int, float]]
    ) -> Iterator[Any]:
        """Functions that each make one proposal."""
        expected = self._expected(shares)
        for count in range(_PER_ROUND):
            doubts = self._doubts(count)
            yield lambda lost=_doubted(expected, doubts): landscape.greedy(lost)
        if self.memory.rounds == 0:
            yield lambda: landscape.refunded(landscape.scaled(), expected)
            for widths in landscape.alone():
                yield lambda widths=widths: widths

    def _expected(self, shares: Mapping[str, Mapping[int, float]]) -> Lost:
        return lambda group, width: self.memory.lost(group, shares[group].get(width, 0.0))

    def _doubts(self, count: int) -> dict[str, float]:
        seed = derive_seed(self.bench.seed, self.number, self.memory.rounds,
                           self.memory.verified, count)  # fmt: skip
        spread = _DOUBTS[count % len(_DOUBTS)]
        factors = np.random.default_rng(seed).lognormal(0.0, spread, len(self.state.keep))
        return dict(zip(self.state.keep, factors.tolist(), strict=True))

    def _shares(self) -> dict[str, dict[int, float]]:
        """For each group, the share of its importance that is lost at each narrower width."""
        importance = self.bench.important(self.checkpoint, self.state.keep)
        shares = {}
        for group in self.bench.network.groups.groups:
            values = importance[group.filters[np.asarray(self.state.keep[group.name])]]
            lost = np.cumsum(np.sort(values)) / max(values.sum(), 1e-30)
            shares[group.name] = {
                len(values) - 1 - number: float(share) for number, share in enumerate(lost)
            }
        return shares

    def _keep(self, widths: Mapping[str, int]) -> dict[str, list[int]]:
        importance = self.bench.important(self.checkpoint, self.state.keep)
        groups, keep = self.bench.network.groups, self.state.keep
        return {n: strongest(importance, keep, n, width, groups) for n, width in widths.items()}

    def _screen(self, widths: Widths, what: str, cost: Cost | None = None) -> Trial:
        """The network of `widths`, cut and with new statistics, but not trained."""
        self.bench.notify(f"iteration {self.number}: {what}")
        weights = self.bench.cut(self._keep(widths), self.checkpoint, self.state.keep)
        score = self.bench.trainer.screened(weights)
        record = {} if cost is None else priced(cost)
        return Trial(widths=widths, cost=record, accuracy=score.accuracy, loss=score.loss)

    def _proposal(self, trial: Trial) -> Proposal:
        before = self.state.widths
        return Proposal(
            widths={name: w for name, w in trial.widths.items() if w != before[name]},
            cost=trial.cost,
            accuracy=trial.accuracy,
            loss=trial.loss,
        )

    def _with(self, memory: Memory) -> State:
        return self.state.model_copy(update={"memory": memory.model_dump(mode="json")})


def _doubted(expected: Lost, doubts: Mapping[str, float]) -> Lost:
    return lambda group, width: expected(group, width) * doubts[group]


def _all(bench: Bench, versions: Sequence[Mapping[str, int]]) -> list[Cost]:
    """What the networks cost as measured whole; Missing for all of them together."""
    missing: list[Missing] = []
    costs: list[Cost] = []
    for widths in versions:
        try:
            costs.append(bench.pricer.measured(widths))
        except Missing as lack:
            missing.append(lack)
    if missing:
        raise Missing.together(missing)
    return costs
