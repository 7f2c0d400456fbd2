"""Which networks are worth measuring whole at the end of a search, and which of them goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from adapt.methods.base import Bench, State, cost_of, priced
from adapt.methods.landscape import Landscape, Lost, Widths, together
from adapt.methods.memory import Trial, distinct, ranked_trials
from adapt.methods.proposals import mended

__all__ = ["AIM", "Verification"]

# Networks that are measured at a time, and those that others are sought near to.
_MEASURED, _MENDED = 3, 6

# Where a network should end, as a share of its limit: measured again at the end it must still be
# within the limit, and no more than 2 % below.
AIM, _HIGHEST, _LOWEST = 0.99, 0.995, 0.981

# To end there is worth this much of the loss that a network is heading for, in nats and not a
# share, and so is each hundredth of the limit that is left unused beyond.
_WORTH = 0.02


@dataclass(frozen=True)
class Verification:
    """Networks measured whole on the device, held against the limits of `state`.

    `expected` is what narrowing groups of the network of `state` is expected to lose.
    """

    bench: Bench
    state: State
    expected: Lost

    def worth_it(self, trials: Iterable[Trial]) -> Sequence[Trial]:
        """Those to measure first."""
        return self._unwasteful(ranked_trials(trials))[: max(_MEASURED, self._finalists)]

    def measured(self, trials: Sequence[Trial]) -> list[Trial]:
        """The same with what they were measured at; raises Missing where they were not."""
        costs = together(partial(self.bench.pricer.measured, trial.widths) for trial in trials)
        return [
            trial.model_copy(update={"measured": priced(cost)})
            for trial, cost in zip(trials, costs, strict=True)
        ]

    def changed(self, known: Sequence[Trial]) -> list[Trial]:
        """Networks near to the best of `known` that may just meet the limits where those do not.

        None where they do not promise more than what fits already, of which there is enough.
        """
        measured = [trial.widths for trial in known]
        ranked = ranked_trials(known)
        misfits = [trial for trial in ranked if not self._fits(trial)][:_MENDED]
        near = together(partial(self._mended, trial, measured) for trial in misfits)
        hopeful = distinct((trial for trial in near if trial is not None), measured)
        fitting = [trial.outlook for trial in ranked if self._fits(trial)]
        if len(fitting) >= self._finalists:
            hopeful = [t for t in hopeful if t.outlook < fitting[self._finalists - 1] - _WORTH]
        return ranked_trials(hopeful)[:_MEASURED]

    def chosen(self, known: Sequence[Trial]) -> list[Trial]:
        """The finalists: those within the limits that promise most and leave little unused."""

        def promise(trial: Trial) -> float:
            unused = max(0.0, _LOWEST - self._used(trial))
            return trial.outlook + _WORTH * (100 * unused + (not self._fits(trial)))

        within = [trial for trial in known if self._used(trial) <= 1.0]
        return sorted(within, key=promise)[: self._finalists] or [min(known, key=self._used)]

    @property
    def _finalists(self) -> int:
        return self.bench.settings.finalists

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

    def _used(self, trial: Trial) -> float:
        """The largest share of its limit that `trial` uses, as measured where that can be."""
        assert trial.measured is not None
        limits, measurable = self.state.limits, self.bench.pricer.measurable
        if not measurable & limits.keys():
            return AIM
        cost = cost_of(trial.measured)
        shares = {name: cost[name].value / limit for name, limit in limits.items()}
        # What is not measured, counted mostly, may come as near to its limit as it can.
        return max(s if name in measurable else min(s, _HIGHEST) for name, s in shares.items())

    def _fits(self, trial: Trial) -> bool:
        return _LOWEST <= self._used(trial) <= _HIGHEST

    def _mended(self, trial: Trial, measured: Sequence[Widths]) -> Trial | None:
        """A network near to `trial` that may just meet the limits, by what that was measured at.

        None where all that are near were `measured`. Its outlook differs by what sensitivities say
        of the few filters more or less.
        """
        assert trial.measured is not None
        pricer, showed = self.bench.pricer, cost_of(trial.measured)
        price = pricer.price(trial.widths)
        goal = {
            name: _HIGHEST * limit * price[name].value / showed[name].value
            if name in pricer.measurable
            else limit
            for name, limit in self.state.limits.items()
        }
        groups = self.bench.network.groups.groups
        landscape = Landscape(groups, self.state.widths, goal, pricer.price)
        found = mended(landscape, self.expected, trial.widths, measured, _LOWEST / _HIGHEST)
        if found is None:
            return None
        widths, more = found
        update = {"widths": widths, "cost": priced(landscape.cost(widths)), "measured": None}
        return trial.model_copy(update={**update, "outlook": trial.outlook + more})
