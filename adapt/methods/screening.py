"""Candidates of one iteration: which filters they keep, and how good they promise to be."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from adapt.cost.base import Cost
from adapt.executors.base import Examples, Task
from adapt.methods.base import Bench, priced
from adapt.methods.landscape import Lost, Widths
from adapt.methods.memory import Memory, Trial
from adapt.network.shrink import Weights
from adapt.training.finetune import Checkpoint, Schedule, derive_seed
from adapt.training.importance import strongest
from adapt.training.scores import Score

__all__ = ["Screening"]

# Of the steps on trial, the part after which a network is looked at first, and the rate: at the
# short one, the harm that the first steps do is all that is seen.
_EARLY, _RATE = 4, 1 / 3


@dataclass(frozen=True)
class Screening:
    """Looks at narrower versions of the network of `checkpoint`, which has the filters `keep`.

    Each candidate is a function of these and its widths alone, so that they can be looked at in
    any order and anywhere.
    """

    bench: Bench
    number: int
    keep: dict[str, list[int]]
    checkpoint: Checkpoint

    def removed(self, widths: Mapping[str, int]) -> dict[str, float]:
        """How much goes at `widths` of each group that these narrow: ln(width before / after).

        By what a network ends at when it is tuned, a group loses as much each time it is halved.
        """
        return {
            name: math.log(len(kept) / widths[name])
            for name, kept in self.keep.items()
            if widths[name] < len(kept)
        }

    def expected(self, memory: Memory) -> Lost:
        """By how much the loss should grow with a group at a width, as far as is known."""
        return lambda group, width: memory.lost(group, math.log(len(self.keep[group]) / width))

    def chosen(self, widths: Mapping[str, int]) -> dict[str, list[int]]:
        """The filters that stay at `widths`."""
        importance = self.bench.important(self.checkpoint, self.keep)
        groups = self.bench.network.groups
        return {
            name: strongest(importance, self.keep, name, width, groups)
            for name, width in widths.items()
        }

    def screened(self, candidates: Iterable[tuple[Widths, Cost | None]]) -> Iterator[Trial]:
        """The networks of these widths, by where their losses are heading; see `_outlook`."""
        asked: deque[tuple[Widths, Cost | None]] = deque()
        settings, steps = self.bench.settings, self.bench.settings.trial_steps
        trial = Schedule(settings.short_rate * _RATE, steps, cosine=False)
        # The same examples for all, so that chance moves all of them alike.
        seed = derive_seed(self.bench.seed, self.number)

        def tasks() -> Iterator[Task]:
            for widths, cost in candidates:
                asked.append((widths, cost))
                start, schedule = self.begun(widths), trial if steps else None
                early = steps // _EARLY
                yield Task(start, schedule, seed, Examples.SCREENING, renew=True, early=early)

        for outcome in self.bench.executor.run(tasks()):
            widths, cost = asked.popleft()
            record = {} if cost is None else priced(cost)
            yield Trial(
                widths=widths,
                cost=record,
                accuracy=outcome.score.accuracy,
                loss=outcome.score.loss,
                outlook=_outlook(outcome.score.loss, outcome.early),
            )

    def tuned(self, candidates: Iterable[Widths], steps: int) -> Iterator[tuple[Score, Checkpoint]]:
        """The networks of these widths after so many steps, and how good they are then."""
        asked: deque[Widths] = deque()

        def tasks() -> Iterator[Task]:
            for widths in candidates:
                asked.append(widths)
                start, schedule = self.begun(widths), self._schedule(steps)
                yield Task(start, schedule, self._seed(widths), Examples.DECIDING, renew=True)

        for outcome in self.bench.executor.run(tasks()):
            widths, score, trained = asked.popleft(), outcome.score, outcome.checkpoint
            assert trained is not None
            if self.bench.network.is_quantized:
                renewed = self.bench.trainer.renewed(trained.weights)
                score = self.judged(widths, renewed, score)
            yield score, trained

    def begun(self, widths: Widths) -> Checkpoint:
        """The network of `widths` before any tuning."""
        return Checkpoint(self.bench.cut(self.chosen(widths), self.checkpoint, self.keep))

    def judged(self, widths: Widths, weights: Weights, real: Score | None = None) -> Score:
        """The network of `widths` with tuned `weights`, in the precision that it ships in.

        `real` is what it is in float32, where that is known.
        """
        return self.bench.score(self.chosen(widths), weights, self.bench.holdout, real)

    def settled(self, widths: Widths, start: Checkpoint, steps: int) -> Checkpoint:
        """The network of `widths` after so many steps; `start` is the same after fewer."""
        return self.bench.trainer.train(start, self._schedule(steps), seed=self._seed(widths))

    def _schedule(self, steps: int) -> Schedule:
        return Schedule(self.bench.settings.short_rate, steps, cosine=False)

    def _seed(self, widths: Widths) -> int:
        return derive_seed(self.bench.seed, self.number, *widths.values())


def _outlook(loss: float, early: Score | None) -> float:
    """The loss that a network is heading for: it falls by the same factor once more.

    Soon after a cut networks differ most by what training makes up for, and what falls fastest ends
    lowest. Without an `early` look it is the loss itself.
    """
    # Nothing is below no loss at all, as easy data has it.
    return loss if early is None or early.loss <= 0 else loss * loss / early.loss
