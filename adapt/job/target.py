"""The least cost at an accuracy: how far a search goes, and which network of its family is kept.

The search first meets the budget, where there is one, and then lowers what is to be as little as
possible on and on. Brief fine-tuning tells less than the long one, so a network that seems to have
fallen below the target is fine-tuned to its end before that is believed; what this wins is expected
of the next ones as well. Then the cheapest network is looked for from the narrowest on, each
fine-tuned to its end. All of it is judged on the held-out examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt.budget import format_amount
from adapt.errors import BudgetUnreachable
from adapt.job.files import write_model
from adapt.job.journal import Step
from adapt.job.result import TargetResult
from adapt.job.sitting import Sitting
from adapt.job.track import Final, Track
from adapt.methods import METHODS
from adapt.methods.base import Bench, Iteration, Phase, State, cost_of, finish, meets
from adapt.methods.starting import cheapest
from adapt.training.finetune import Checkpoint

__all__ = ["Found", "LeastCost", "save_family"]

# How far a search may go: a little more than the cheapest network costs.
_FLOOR = 1.02


@dataclass(frozen=True)
class Found:
    """How a network was found: the budget's limits, the family, and the accuracy to be kept."""

    limits: dict[str, float]
    history: list[Iteration]
    target: TargetResult | None = None


class _LongTuning:
    """The long fine-tune of one network, as a method."""

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        return finish(bench, state, checkpoint)


class LeastCost:
    """The search for the cheapest network of the job in `sitting` that keeps the accuracy."""

    def __init__(self, sitting: Sitting) -> None:
        request = sitting.request
        assert request.target_accuracy is not None
        self._sitting, self._target = sitting, request.target_accuracy
        self._method = METHODS[request.method]
        self._settings = request.settings.settled(self._method.defaults)
        self._points = sitting.folder.journal("points", complete=True)
        self._finals: dict[int, Final] = {}
        self._judged: dict[int, float] = {}

    def find(self) -> tuple[Final, Found]:
        """The network, fine-tuned to its end, and how it was found.

        BudgetUnreachable where no narrower network of the family keeps the accuracy.
        """
        search = Track(
            self._sitting, "", self._method, self._settings, self._start, self._keep_point
        )
        self._remember(search.state)
        self._search(search)
        limits = self._limits(search.state)
        candidates = [p for p in search.state.history[1:] if _within(p, limits)]
        for point in reversed(candidates):
            if self._accuracy(point.number) >= self._target:
                target = TargetResult(
                    accuracy=self._target,
                    minimised=self._sitting.request.minimised,
                    iteration=point.number,
                    judged=dict(sorted(self._judged.items())),
                )
                found = Found(limits, search.state.history, target)
                return self._finals[point.number], found
        raise self._out_of_reach(candidates)

    def _start(self, bench: Bench) -> tuple[State, Checkpoint]:
        original = bench.pricer.price({})
        limits = self._sitting.request.limits.resolve(original.values_by_resource)
        start = limits or self._floor(limits)
        state = self._method.start(bench, start, original)
        reached = state.history[0].accuracy
        if self._target > reached:
            raise BudgetUnreachable(
                f"the accuracy {self._target:.2%} is more than the original network has:"
                f" {reached:.2%} of the held-out examples",
                "Lower --target-accuracy.",
            )
        if not limits:
            state = state.model_copy(update={"minimised": self._sitting.request.minimised})
        return state, Checkpoint(self._sitting.network.weights)

    def _remember(self, state: State) -> None:
        """What earlier sittings found of networks fine-tuned to their end: choices rest on it."""
        for point in state.history[1:]:
            last = self._sitting.folder.journal(_trial_name(point.number)).last()
            if last is not None and last.state.phase is Phase.DONE:
                self._accuracy(point.number)

    def _search(self, search: Track) -> None:
        """Until a network of the family is too narrow, or nothing narrower is left."""
        while not self._too_narrow(search.state):
            state = search.state
            if state.phase is Phase.SEARCH:
                try:
                    search.advance()
                except BudgetUnreachable:
                    if not state.minimised:
                        raise
                    return
            elif state.minimised:
                return
            else:
                search.put(self._stretched(state), search.checkpoint)

    def _too_narrow(self, state: State) -> bool:
        """Whether the last network of the family misses the accuracy, whatever is done."""
        point = state.history[-1]
        if point.number == 0 or not state.minimised:
            return False
        last = max((number for number in self._judged if number <= point.number), default=0)
        won = self._judged[last] - state.history[last].accuracy if last else 0.0
        if point.accuracy + won >= self._target:
            return False
        return self._accuracy(point.number) < self._target

    def _stretched(self, state: State) -> State:
        """`state`, which meets the budget, with less and less to be met of what is minimised."""
        names = self._sitting.request.minimised
        limits = self._sitting.priced(lambda: self._floor(state.limits))
        update = {"phase": Phase.SEARCH, "memory": {}, "limits": limits, "minimised": names}
        return state.model_copy(update=update)

    def _floor(self, limits: Mapping[str, float]) -> dict[str, float]:
        """`limits` with those that the cheapest network reaches of what is minimised."""
        names = self._sitting.request.minimised
        least = cheapest(self._sitting.pricer, self._sitting.network, names)
        floor = {name: _FLOOR * least[name].value for name in names}
        return {**limits, **{n: min(limits.get(n, value), value) for n, value in floor.items()}}

    def _limits(self, state: State) -> dict[str, float]:
        """Those of the budget."""
        original = cost_of(state.original).values_by_resource
        return self._sitting.request.limits.resolve(original)

    def _keep_point(self, state: State, checkpoint: Checkpoint) -> None:
        """Write the network of an iteration down: it may turn out to be the one."""
        save_family(self._sitting, state, checkpoint)
        account = self._sitting.ledger.account
        self._points.append(Step(state.history[-1].number, state, checkpoint, account))

    def _accuracy(self, number: int) -> float:
        """Of the network of iteration `number` on the held-out examples, fine-tuned to its end."""
        if number not in self._judged:
            sitting = self._sitting
            track = Track(
                sitting,
                _trial_name(number),
                _LongTuning(),
                self._settings,
                lambda bench: self._trial(number),
            )
            final = track.run()
            score = track.bench.score(
                final.state.keep, final.checkpoint.weights, sitting.data.holdout
            )
            self._finals[number], self._judged[number] = final, score.accuracy
            kept = "keeps" if score.accuracy >= self._target else "misses"
            sitting.listener.say(
                f"iteration {number}, fine-tuned: hold-out {score.accuracy:.1%}"
                f" {kept} {self._target:.1%}"
            )
        return self._judged[number]

    def _trial(self, number: int) -> tuple[State, Checkpoint]:
        point = self._points.read(number)
        update = {"phase": Phase.FINISH, "memory": {}}
        return point.state.model_copy(update=update), Checkpoint(point.checkpoint.weights)

    def _out_of_reach(self, judged: Sequence[Iteration]) -> BudgetUnreachable:
        """The error for networks none of which keeps the accuracy, if there are any."""
        if not judged:
            return BudgetUnreachable(
                f"there is no network of less {self._sitting.request.minimise} than the original",
                "Nothing can be narrowed for it; --minimise another resource.",
            )
        widest = judged[0]
        cost = cost_of(widest.cost)
        needs = ", ".join(
            f"{name} {format_amount(name, cost[name].value)}"
            for name in self._sitting.request.minimised
        )
        return BudgetUnreachable(
            f"no narrower network keeps the accuracy {self._target:.2%}: the widest that was"
            f" found, of {needs}, comes to {self._judged[widest.number]:.2%} of the held-out"
            " examples",
            "Lower --target-accuracy, raise --long-steps, or try smaller steps (--first-step).",
        )


def save_family(sitting: Sitting, state: State, checkpoint: Checkpoint) -> None:
    """The network of the last iteration, beside those before it."""
    point = state.history[-1]
    path = sitting.folder.path / "family" / f"iteration-{point.number:02d}.keras"
    path.parent.mkdir(exist_ok=True)
    write_model(path, sitting.network.shrunk(point.keep, checkpoint.weights))


def _trial_name(number: int) -> str:
    return f"trial-{number:02d}"


def _within(point: Iteration, limits: Mapping[str, float]) -> bool:
    """Whether a network of the family meets the budget, as measured if it was."""
    return meets(cost_of(point.measured or point.cost), limits)
