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

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from adapt.budget import binding, format_amount, within
from adapt.cost.base import Amount, Cost, Origin
from adapt.cost.pricer import Pricer
from adapt.errors import BudgetUnreachable
from adapt.executors.base import Examples, Executor, Task, deciding
from adapt.methods.widths import label
from adapt.network import shrink
from adapt.network.load import Network
from adapt.training.activations import Activations
from adapt.training.augmentation import Augmentation
from adapt.training.compensation import compensated
from adapt.training.data import Data, Split
from adapt.training.evaluate import tflite_score
from adapt.training.finetune import Checkpoint, Schedule, Trainer, derive_seed
from adapt.training.importance import Importance, Rule
from adapt.training.optimiser import Optimiser
from adapt.training.scores import Score

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
    "label",
    "priced",
    "unreachable",
    "widths_of",
]

# Steps of the long fine-tune between two journal entries: what a kill can cost.
_STEPS_PER_ENTRY = 100


class Settings(BaseModel):
    """What a user may turn; the defaults need no turning.

    Steps are optimiser steps of `batch` examples; the learning rates are the highest of their
    phase. `first_step` is the first iteration's tightening as a share of the original cost, which
    `netadapt-paper` multiplies by `decay` in each iteration (the paper uses a few percent and
    0.96-0.98). `netadapt` judges its `proposals`, so many in each round, by where their losses head
    after `trial_steps`, untrained if 0. `finalists` of them are tuned, the best is for
    `settling_steps` more. With `compensate`, filters that stay stand in for those that go.
    `distillation` is the share of the loss that is about the original network's outputs, softened
    by `temperature`. `optimiser` and `augmentation` are of all. None: as the method finds best.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: int = Field(default=128, ge=1, le=4096)
    short_steps: int = Field(default=30, ge=0, le=100_000)
    short_rate: float = Field(default=0.003, gt=0, le=10)
    long_steps: int = Field(default=600, ge=0, le=10_000_000)
    long_rate: float = Field(default=0.003, gt=0, le=10)
    first_step: float | None = Field(default=None, gt=0, le=1)
    decay: float = Field(default=0.96, gt=0, le=1)
    trial_steps: int = Field(default=32, ge=0, le=100_000)
    proposals: int | None = Field(default=None, ge=1, le=1000)
    finalists: int = Field(default=1, ge=1, le=100)
    settling_steps: int = Field(default=100, ge=0, le=100_000)
    importance: Rule | None = None
    compensate: bool | None = None
    distillation: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=3.0, ge=1, le=100)
    optimiser: Optimiser = Optimiser.ADAM
    augmentation: Augmentation = Augmentation.NONE

    def settled(self, defaults: Mapping[str, Any]) -> Settings:
        """These settings with `defaults`, those of a method, where they are None."""
        unset = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=unset)


class Phase(StrEnum):
    """Where a method stands."""

    SEARCH = "search"
    FINISH = "finish"
    DONE = "done"


CostRecord = dict[str, dict[str, float]]
"""A cost as JSON: resource -> origin -> value in the resource's unit."""


class Proposal(BaseModel):
    """A candidate network of one iteration: the groups of `widths` narrowed to these.

    `accuracy` and `loss` are those on the hold-out split after `steps` of fine-tuning.
    """

    model_config = ConfigDict(frozen=True)

    widths: dict[str, int]
    cost: CostRecord
    accuracy: float
    loss: float
    steps: int = 0
    chosen: bool = False

    @property
    def group(self) -> str:
        """What was narrowed, in a few words."""
        return label(self.widths)


class Iteration(BaseModel):
    """One point of the family: the best network of an iteration. Iteration 0 is the original.

    `group` says what was narrowed; `measured` is the cost as the whole network showed it on the
    device, where it was measured during the search. `binding` names the one of the iteration's
    limits that the network comes nearest to; empty for the original. `steps` are all so far.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    group: str
    keep: dict[str, list[int]]
    cost: CostRecord
    accuracy: float
    loss: float
    proposals: list[Proposal] = []
    measured: CostRecord | None = None
    binding: str = ""
    steps: int = 0

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group."""
        return widths_of(self.keep)


class State(BaseModel):
    """Everything but the weights that a method remembers between steps.

    `memory` is what a method remembers of an iteration that takes several steps. `minimised` names
    those of `limits` that are no more than how far the search could go.
    """

    model_config = ConfigDict(frozen=True)

    phase: Phase
    limits: dict[str, float]
    original: CostRecord
    keep: dict[str, list[int]]
    history: list[Iteration]
    steps_trained: int = 0
    long_steps_done: int = 0
    memory: dict[str, Any] = {}
    minimised: list[str] = []

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group."""
        return widths_of(self.keep)


@dataclass(frozen=True)
class Bench:
    """What a method works with. `notify` takes one line for people about what goes on.

    `executor` carries candidates out, in this process or elsewhere; `trainer` is this process' own.
    """

    network: Network
    data: Data
    trainer: Trainer
    executor: Executor
    importance: Importance
    activations: Activations
    pricer: Pricer
    settings: Settings
    seed: int
    notify: Callable[[str], None]

    @property
    def holdout(self) -> Split:
        """The held-out examples that decide between tuned proposals, at most a few thousand."""
        return deciding(self.data)

    def score(
        self, keep: shrink.Keep, weights: shrink.Weights, split: Split, real: Score | None = None
    ) -> Score:
        """How good the network with the filters `keep` is, in the precision that it ships in.

        `real` is what it is in float32, where that is known.
        """
        network = self.network
        # A network that diverged has int8 weights as good as any.
        diverged = any(not np.isfinite(value).all() for value in weights.values())
        if diverged or not network.is_quantized:
            return real or self.trainer.score(weights, split)
        content = network.to_tflite(network.shrunk(keep, weights))
        return tflite_score(content, self.data, split, gives_logits=network.gives_logits)

    def important(self, checkpoint: Checkpoint, keep: shrink.Keep) -> np.ndarray:
        """How much each filter of the network with `keep` matters, by the rule of the settings."""
        assert self.settings.importance is not None
        return self.importance.of(checkpoint.weights, keep, self.settings.importance)

    def cut(self, keep: shrink.Keep, start: Checkpoint, current: shrink.Keep) -> shrink.Weights:
        """The weights of `start`, whose network has `current` filters, cut to `keep`."""
        weights, groups = start.weights, self.network.groups
        if self.settings.compensate:
            readers, moments = self.activations.readers, self.activations.of(weights)
            weights = compensated(weights, groups, readers, moments, keep, current)
        return shrink.slice_weights(weights, groups, keep, current)

    def tuning(self, start: Checkpoint, *seed_parts: object) -> Task:
        """The task of fine-tuning `start` briefly and scoring it on all that is held out."""
        settings = self.settings
        schedule = Schedule(settings.short_rate, settings.short_steps, cosine=False)
        seed = derive_seed(self.seed, *seed_parts)
        return Task(start, schedule, seed, Examples.HOLDOUT, renew=False)


class Method(Protocol):
    """A way to meet a budget. `defaults` are those of the settings that are None."""

    name: str
    defaults: Mapping[str, Any]

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
    score = bench.score(keep, weights, bench.data.holdout)
    number, group = first
    point = Iteration(
        number=number,
        group=group,
        keep=keep,
        cost=priced(cost),
        accuracy=score.accuracy,
        loss=score.loss,
        binding=binding(cost.values_by_resource, limits) if number else "",
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
    parts = {name: {Origin(o): v for o, v in each.items()} for name, each in record.items()}
    return Cost({name: Amount(each) for name, each in parts.items()})


def meets(cost: Cost, limits: Mapping[str, float]) -> bool:
    """Whether `cost` is within absolute `limits`."""
    return within(cost.values_by_resource, limits)


def unreachable(least: Cost, limits: Mapping[str, float]) -> BudgetUnreachable:
    """The error for a budget that even the cheapest network, of cost `least`, exceeds."""
    lacking = [
        f"{name} {format_amount(name, least[name].value)} at the least,"
        f" {format_amount(name, limit)} asked for"
        for name, limit in limits.items()
        if least[name].value > limit
    ]
    return BudgetUnreachable(
        f"the budget cannot be met: {'; '.join(lacking)}",
        "Raise the budget, or start from a smaller architecture.",
    )


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
