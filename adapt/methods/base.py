"""The seam between a way to meet a budget and the job that drives it.

A method is a pure step function: from a state (plain JSON values) and a checkpoint (weights) to
the next state and checkpoint. Everything it uses comes with the `Bench`; every seed derives from
the job's seed, the step and the proposal. The driver writes each step down, so a job that is
killed goes on from its last step and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from adapt.budget import within
from adapt.cost.base import Amount, Cost, Origin
from adapt.cost.pricer import Pricer
from adapt.network import shrink
from adapt.network.load import Network
from adapt.training.data import Data
from adapt.training.finetune import Checkpoint, Schedule, Trainer, derive_seed

__all__ = [
    "Bench",
    "CostRecord",
    "Iteration",
    "Method",
    "Phase",
    "Proposal",
    "Settings",
    "State",
    "begun",
    "finish",
    "full_keep",
    "priced",
    "widths_of",
]

# Steps of the long fine-tune between two journal entries: what a kill can cost.
_STEPS_PER_ENTRY = 100


class Settings(BaseModel):
    """What a user may turn; the defaults need no turning.

    Steps are optimiser steps of `batch` examples; the learning rates are the highest of their
    phase. `first_step` is the first iteration's tightening as a share of the original cost, which
    each iteration multiplies by `decay` (the paper uses a few percent and 0.96-0.98).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=128, ge=1, le=4096)
    short_steps: int = Field(default=40, ge=0, le=100_000)
    short_rate: float = Field(default=0.001, gt=0, le=10)
    long_steps: int = Field(default=600, ge=0, le=10_000_000)
    long_rate: float = Field(default=0.003, gt=0, le=10)
    first_step: float = Field(default=0.05, gt=0, le=1)
    decay: float = Field(default=0.96, gt=0, le=1)


class Phase(StrEnum):
    """Where a method stands."""

    SEARCH = "search"
    FINISH = "finish"
    DONE = "done"


CostRecord = dict[str, dict[str, float]]
"""A cost as JSON: resource -> origin -> value in the resource's unit."""


class Proposal(BaseModel):
    """A candidate network of one iteration: `group` narrowed to `width`."""

    model_config = ConfigDict(frozen=True)

    group: str
    width: int
    cost: CostRecord
    accuracy: float
    loss: float


class Iteration(BaseModel):
    """One point of the family: the best network of an iteration. Iteration 0 is the original."""

    model_config = ConfigDict(frozen=True)

    number: int
    group: str
    keep: dict[str, list[int]]
    cost: CostRecord
    accuracy: float
    loss: float
    proposals: list[Proposal] = []

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group."""
        return widths_of(self.keep)


class State(BaseModel):
    """Everything but the weights that a method remembers between steps."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    limits: dict[str, float]
    original: CostRecord
    keep: dict[str, list[int]]
    history: list[Iteration]
    steps_trained: int = 0
    long_steps_done: int = 0

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group."""
        return widths_of(self.keep)


@dataclass(frozen=True)
class Bench:
    """What a method works with. `notify` takes one line for people about what goes on."""

    network: Network
    data: Data
    trainer: Trainer
    pricer: Pricer
    settings: Settings
    seed: int
    notify: Callable[[str], None]

    def trained(
        self, keep: shrink.Keep, start: Checkpoint, current: shrink.Keep, *seed_parts: object
    ) -> Checkpoint:
        """`start`, whose network has `current` filters, cut to `keep` and briefly fine-tuned."""
        settings = self.settings
        weights = shrink.slice_weights(start.weights, self.network.groups, keep, current)
        schedule = Schedule(settings.short_rate, settings.short_steps, cosine=False)
        return self.trainer.train(
            Checkpoint(weights), schedule, seed=derive_seed(self.seed, *seed_parts)
        )


class Method(Protocol):
    """A way to meet a budget."""

    name: str

    def start(self, bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
        """The first state. Raises Missing, or BudgetUnreachable where no width vector will do."""
        ...

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """The next state and checkpoint.

        Raises Missing, before any training, where kernels must be measured first; the driver then
        calls again with the same arguments.
        """
        ...


def begun(
    bench: Bench,
    limits: Mapping[str, float],
    original: Cost,
    first: tuple[int, str],
    keep: dict[str, list[int]],
    cost: Cost,
) -> State:
    """The first state of a method that starts from the filters `keep`, whose network has `cost`.

    `first` is the number of the family's first point and what was narrowed to come to it.
    """
    weights = shrink.slice_weights(bench.network.weights, bench.network.groups, keep)
    score = bench.trainer.score(weights, bench.data.holdout)
    number, group = first
    point = Iteration(
        number=number,
        group=group,
        keep=keep,
        cost=priced(cost),
        accuracy=score.accuracy,
        loss=score.loss,
    )
    return State(
        phase=Phase.SEARCH,
        limits=dict(limits),
        original=priced(original),
        keep=keep,
        history=[point],
    )


def widths_of(keep: Mapping[str, list[int]]) -> dict[str, int]:
    """How many filters of each group stay."""
    return {name: len(positions) for name, positions in keep.items()}


def full_keep(network: Network) -> dict[str, list[int]]:
    """Every filter of every group."""
    return {group.name: list(range(group.width)) for group in network.groups.groups}


def priced(cost: Cost) -> CostRecord:
    """`cost` as JSON values."""
    return {
        name: {str(origin): value for origin, value in amount.by_origin.items()}
        for name, amount in cost.items()
    }


def cost_of(record: Mapping[str, Mapping[str, float]]) -> Cost:
    """The cost that `priced` wrote down."""
    return Cost(
        {
            name: Amount({Origin(origin): value for origin, value in parts.items()})
            for name, parts in record.items()
        }
    )


def meets(cost: Cost, limits: Mapping[str, float]) -> bool:
    """Whether `cost` is within absolute `limits`."""
    return within(cost.values_by_resource, limits)


def finish(bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
    """One piece of the long fine-tune of the network that the search ended with."""
    total = bench.settings.long_steps
    until = min(state.long_steps_done + _STEPS_PER_ENTRY, total)
    bench.notify(f"fine-tuning the result, step {until} of {total}")
    schedule = Schedule(bench.settings.long_rate, max(total, 1), cosine=True)
    trained = bench.trainer.train(
        checkpoint, schedule, seed=derive_seed(bench.seed, "finish"), until=until
    )
    update: dict[str, Any] = {
        "long_steps_done": until,
        "steps_trained": state.steps_trained + until - state.long_steps_done,
        "phase": Phase.DONE if until >= total else Phase.FINISH,
    }
    return state.model_copy(update=update), trained
