"""What the search remembers between its steps, as JSON in the state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from adapt.methods.base import CostRecord

__all__ = ["Memory", "Stage", "Trial"]


class Stage(StrEnum):
    """What the next step of an iteration does."""

    PROBE = "probe"
    PROPOSE = "propose"
    VERIFY = "verify"
    TUNE = "tune"
    END = "end"


class Trial(BaseModel):
    """A network that was screened: its widths, what it costs, and how good it is untrained.

    `measured` is the cost that the whole network showed on the device, where it was measured.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    cost: CostRecord
    accuracy: float
    loss: float
    measured: CostRecord | None = None


class Memory(BaseModel):
    """An iteration under way.

    `left` iterations, this one included, lead to the budget. `base_loss` is that of the network
    that the iteration began with, screened as its trials are. `sensitivities` say by how much the
    loss grows for each share of a group's importance that is removed, of groups that were probed;
    `probed` in which iteration they were last. `rounds` of proposals have been screened;
    `corrections` is by how much whole networks on the device exceed their prices, by resource,
    `verified` how often networks were measured in this iteration, and `within` those of them that
    met the limits.
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
    within: list[Trial] = []

    def lost(self, group: str, share: float) -> float:
        """How much the loss is expected to grow without `share` of a group's importance."""
        known = sorted(self.sensitivities.values())
        usual = known[len(known) // 2] if known else 1.0
        return self.sensitivities.get(group, usual) * share

    def learnt(self, shares: Mapping[str, float], growth: float) -> Memory:
        """With sensitivities that explain better how the loss grew without `shares` of groups."""
        expected = {group: self.lost(group, share) for group, share in shares.items() if share > 0}
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


# One network that was screened changes sensitivities at most by this factor.
_MOST_AT_ONCE = 4.0
