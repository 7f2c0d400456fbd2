"""What the search remembers between its steps, as JSON in the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from adapt.methods.base import CostRecord

__all__ = ["Memory", "Stage", "Trial", "distinct", "ranked_trials"]


class Stage(StrEnum):
    """What the next step of an iteration does."""

    PROBE = "probe"
    PROPOSE = "propose"
    VERIFY = "verify"
    TUNE = "tune"
    END = "end"


class Trial(BaseModel):
    """A network on trial: its widths, what it costs, and how good it is after a few steps, if any.

    `outlook` is the loss that it is heading for. `measured` is the cost that the whole network
    showed on the device, where it was measured.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    cost: CostRecord
    accuracy: float
    loss: float
    outlook: float
    measured: CostRecord | None = None


class Memory(BaseModel):
    """An iteration under way.

    `left` iterations, this one included, lead to the budget. `base_loss` is that of the network
    that the iteration began with, the outlook of a trial. `sensitivities` say by how much the
    loss grows each time that a group is narrowed by a factor of e, of groups that were probed;
    `probed` in which iteration they were last. `rounds` of proposals have been tried;
    `corrections` is by how much whole networks on the device exceed their prices, by resource,
    `verified` how often networks were measured whole in this iteration, `measured` which, and
    `asked` those that are next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Stage = Stage.PROBE
    left: int = 1
    base_loss: float = 0.0
    sensitivities: dict[str, float] = {}
    probed: dict[str, int] = {}
    trials: list[Trial] = []
    rounds: int = 0
    corrections: dict[str, float] = {}
    verified: int = 0
    measured: list[Trial] = []
    asked: list[Trial] = []

    def lost(self, group: str, narrowing: float) -> float:
        """How much the loss is expected to grow where `group` is narrowed: ln(before / after)."""
        known = sorted(self.sensitivities.values())
        usual = known[len(known) // 2] if known else 1.0
        return self.sensitivities.get(group, usual) * narrowing

    def learnt(self, narrowed: Mapping[str, float], growth: float) -> Memory:
        """With sensitivities that explain better how the loss grew where groups were narrowed."""
        expected = {name: self.lost(name, depth) for name, depth in narrowed.items() if depth > 0}
        total = sum(expected.values())
        if total <= 0:
            return self
        ratio = min(max(growth / total, 1 / _MOST_AT_ONCE), _MOST_AT_ONCE)
        changed = {
            # Who was expected to lose most is most to blame.
            group: self.lost(group, 1.0) * ratio ** (part / total)
            for group, part in expected.items()
        }
        return self.model_copy(update={"sensitivities": {**self.sensitivities, **changed}})


# One trial changes sensitivities at most by this factor.
_MOST_AT_ONCE = 2.0


def ranked_trials(trials: Iterable[Trial]) -> list[Trial]:
    """The most promising first."""
    return sorted(trials, key=lambda trial: trial.outlook)


def distinct(trials: Iterable[Trial], known: Sequence[Mapping[str, int]]) -> list[Trial]:
    """Each of `trials` once, the best of equals, without those of widths that are `known`."""
    worst_first = reversed(ranked_trials(trials))
    found = {tuple(sorted(trial.widths.items())): trial for trial in worst_first}
    return [each for each in found.values() if each.widths not in known]
