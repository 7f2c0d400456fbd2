"""A bench with the bundled network, and a device that is a staircase."""
# ruff: noqa: E402  (TensorFlow is imported without its greetings first)

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from adapt.telemetry import import_tensorflow

import_tensorflow()

from adapt.budget import Budget
from adapt.cost import Amount, Cost, CostModel, MacCount, Missing, Origin
from adapt.cost.pricer import Pricer
from adapt.executors.here import Here
from adapt.methods import METHODS
from adapt.methods.base import Bench, Phase, Settings, State
from adapt.network.elastic import ElasticNetwork
from adapt.network.load import Network
from adapt.training.activations import Activations
from adapt.training.data import Data
from adapt.training.finetune import Checkpoint, Trainer
from adapt.training.importance import Importance
from lookup_tables.kernel import Kernel

# Of 135 examples held out: so few that proposals are often equally accurate.
HOLDOUT = 24
# As many steps as the bundled network could ever take are far fewer than this.
MAX_STEPS = 200


def staircase_us(kernel: Kernel) -> float:
    """Latency of a kernel that steps by 8 channels in and out."""
    source, target = kernel.inputs[0], kernel.outputs[0]
    assert source is not None
    channels = -(-source.shape[-1] // 8) * -(-target.shape[-1] // 8)
    return 1.0 + 0.01 * channels * math.prod(target.shape[:-1])


class Staircase:
    """Latency by `staircase_us`, of the kernels that have been measured."""

    resources: frozenset[str] = frozenset({"latency"})

    def __init__(self) -> None:
        self.measured: set[Kernel] = set()

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        parts = self.price_each(kernels)
        return Cost({"latency": Amount.total(part["latency"] for part in parts)})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        missing = [kernel for kernel in kernels if kernel not in self.measured]
        if missing:
            raise Missing(missing)
        times = map(staircase_us, kernels)
        return [Cost({"latency": Amount.of(Origin.MEASURED, time)}) for time in times]


class Counted:
    """A trainer that counts how often it was asked, and keeps the seeds."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.asked = 0
        self.seeds: list[int] = []

    def train(self, *arguments: Any, **options: Any) -> Checkpoint:
        self.asked += 1
        self.seeds.append(options["seed"])
        return self._trainer.train(*arguments, **options)

    def score(self, *arguments: Any) -> Any:
        self.asked += 1
        return self._trainer.score(*arguments)

    def screened(self, *arguments: Any) -> Any:
        self.asked += 1
        return self._trainer.screened(*arguments)

    def renewed(self, *arguments: Any) -> Any:
        return self._trainer.renewed(*arguments)


@dataclass
class Run:
    """A method's way from start to end: a state and a checkpoint for each step."""

    bench: Bench
    model: CostModel
    whole: Any = None
    limits: Mapping[str, float] = field(default_factory=dict)
    original: Cost = field(default_factory=lambda: Cost({}))
    journal: list[tuple[State, Checkpoint]] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.journal[-1][0]

    def price(self, widths: Mapping[str, int]) -> Cost:
        """What the network costs at `widths`, whether or not its kernels were measured before."""
        cost: Cost = self.ask(lambda: self.bench.pricer.price(widths))
        return cost

    def ask(self, question: Callable[[], Any]) -> Any:
        """The answer; nothing may have been trained before kernels were found missing."""
        trainer: Any = self.bench.trainer
        while True:
            before = trainer.asked
            try:
                return question()
            except Missing as missing:
                kernels, wholes = set(missing.kernels), missing.wholes
            assert isinstance(self.model, Staircase)
            assert not self.model.measured & kernels
            assert trainer.asked == before
            if wholes:
                self.whole.measure(wholes)
            self.model.measured |= kernels


@dataclass
class Driver:
    """Drives methods as a job does: what is missing is measured, then the method asked again."""

    network: Network
    data: Data
    trainer: Trainer
    importance: Importance
    activations: Activations
    lines: list[str] = field(default_factory=list)

    def bench(
        self, name: str, resources: Iterable[str], model: CostModel, **settings: Any
    ) -> Bench:
        """A bench for the method `name` that prices `resources`, latency by `model`."""
        turned = {
            "short_steps": 2,
            "trial_steps": 4,
            "settling_steps": 1,
            "long_steps": 120,
            "first_step": 0.15,
        }
        turned |= settings
        models = (model, MacCount())
        counted: Any = Counted(self.trainer)
        return Bench(
            network=self.network,
            data=self.data,
            trainer=counted,
            executor=Here(counted, self.data),
            importance=self.importance,
            activations=self.activations,
            pricer=Pricer(self.network, models, resources),
            settings=Settings(**turned).settled(METHODS[name].defaults),
            seed=3,
            notify=self.lines.append,
        )

    def run(
        self,
        name: str,
        *budget: str,
        model: CostModel | None = None,
        pricer: Pricer | None = None,
        whole: Any = None,
        **settings: Any,
    ) -> Run:
        """The method `name` from its start to its end; latency by `model`, a staircase if None.

        `whole` measures whole networks for `pricer`.
        """
        parsed, method, model = Budget.parse(budget), METHODS[name], model or Staircase()
        bench = self.bench(name, parsed.resources, model, **settings)
        bench = replace(bench, pricer=pricer or bench.pricer)
        run = Run(bench, model, whole)
        run.original = run.price({})
        run.limits = parsed.resolve(run.original.values_by_resource)
        state = run.ask(lambda: method.start(bench, run.limits, run.original))
        run.journal.append((state, Checkpoint(self.network.weights)))
        while run.state.phase is not Phase.DONE:
            run.journal.append(run.ask(lambda: method.step(bench, *run.journal[-1])))
            assert len(run.journal) < MAX_STEPS
        return run


@pytest.fixture(scope="session")
def driver(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> Driver:
    few = replace(digits_data, holdout=digits_data.holdout.take(np.arange(HOLDOUT)))
    elastic = ElasticNetwork(digits_network.model, digits_network.groups)
    activations = Activations(elastic, digits_network.groups, few)
    importance = Importance(elastic, digits_network.groups, few, activations)
    return Driver(digits_network, few, digits_trainer, importance, activations)


@pytest.fixture
def staircase() -> Staircase:
    """A device of which nothing is known."""
    return Staircase()
