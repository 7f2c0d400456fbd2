"""One method of a job, carried on from its last journalled step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from adapt.job.journal import Step
from adapt.job.sitting import Sitting
from adapt.methods.base import Bench, Phase, Settings, State
from adapt.training.finetune import Checkpoint

__all__ = ["Final", "Stepper", "Track"]

_Point = Callable[[State, Checkpoint], None]


@dataclass(frozen=True)
class Final:
    """Where a method ended."""

    state: State
    checkpoint: Checkpoint


class Stepper(Protocol):
    """What a track goes on by: a method, once it has started."""

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """The next state and checkpoint; see `adapt.methods.base.Method`."""
        ...


class Track:
    """The steps of `method` in the journal called `name`, which is empty for the job itself.

    `first` gives the state and the checkpoint that it begins with, and may raise Missing. Of each
    network that an iteration ends with, `grown` is told before the step is journalled.
    """

    def __init__(
        self,
        sitting: Sitting,
        name: str,
        method: Stepper,
        settings: Settings,
        first: Callable[[Bench], tuple[State, Checkpoint]],
        grown: _Point | None = None,
    ) -> None:
        self._sitting, self._name, self._method, self._grown = sitting, name, method, grown
        self.bench = _bench(sitting, settings)
        self._journal = sitting.folder.journal(name)
        last = self._journal.last()
        if last is None:
            self._number = -1
            self.put(*sitting.priced(partial(first, self.bench)))
            return
        self._number, self.state, self.checkpoint = last.number, last.state, last.checkpoint
        sitting.ledger.resume(last.account)
        sitting.listener.advanced(name, self.state)

    def put(self, state: State, checkpoint: Checkpoint) -> None:
        """Go on from there: it is journalled as the next step."""
        self._number += 1
        self.state, self.checkpoint = state, checkpoint
        self._journal.append(Step(self._number, state, checkpoint, self._sitting.ledger.account))
        self._sitting.listener.advanced(self._name, state)

    def advance(self) -> None:
        """One step more."""
        phase = f"{self._name} {self.state.phase}".strip()
        step = partial(self._method.step, self.bench, self.state, self.checkpoint)
        with self._sitting.ledger.timed(phase):
            state, checkpoint = self._sitting.priced(step)
        if self._grown is not None and len(state.history) > len(self.state.history):
            self._grown(state, checkpoint)
        self.put(state, checkpoint)

    def run(self) -> Final:
        """All steps that are left."""
        while self.state.phase is not Phase.DONE:
            self.advance()
        return Final(self.state, self.checkpoint)


def _bench(sitting: Sitting, settings: Settings) -> Bench:
    return Bench(
        network=sitting.network,
        data=sitting.data,
        trainer=sitting.trainer,
        executor=sitting.executor,
        importance=sitting.importance,
        activations=sitting.activations,
        pricer=sitting.pricer,
        settings=settings,
        seed=sitting.request.seed,
        notify=sitting.listener.notify,
    )
