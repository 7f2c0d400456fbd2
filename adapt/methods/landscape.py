"""What narrowing groups of a network wins and loses, and good ways to narrow several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from adapt.cost.base import Cost, Missing
from adapt.methods.base import meets
from adapt.methods.widths import levels, nondominated
from adapt.network.groups import Group

__all__ = ["Landscape", "Option", "together"]

# Widths of each group that are priced, from the widest down: those beyond cut so deep that the
# next iteration may as well see to it.
_DEPTH = 8

# A greedy choice adds up what groups win one by one, which is not what they win together. It is
# made again for as much more as was lacking, at most this often.
_CORRECTIONS = 6

# Widenings that are tried for each candidate, each by one level; most have few left to give.
_REFUNDS = 64

# Of losses that are next to nothing, the ratio of gain to loss means nothing.
_LEAST_LOST = 1e-6

_K = TypeVar("_K")
_V = TypeVar("_V")

Widths = dict[str, int]
"""Width of every group."""

Lost = Callable[[str, int], float]
"""What narrowing a group to a width is expected to cost in quality, 0 or more."""


@dataclass(frozen=True)
class Option:
    """A width for one group alone; `won` is the share that it gives of the cost to be saved."""

    width: int
    won: float


class Landscape:
    """Ways from a network of `widths` down to `goal`, limits by resource, all above the least.

    `price` tells the cost of any widths, or raises Missing.
    """

    def __init__(
        self,
        groups: tuple[Group, ...],
        widths: Mapping[str, int],
        goal: Mapping[str, float],
        price: Callable[[Mapping[str, int]], Cost],
    ) -> None:
        """Price every group alone; Missing for all of them together."""
        self.widths = dict(widths)
        self._goal = goal
        self._price, self._known = price, dict[tuple[int, ...], Cost]()
        self._levels = {group.name: levels(group) for group in groups}
        current = self.cost(self.widths).values_by_resource
        self._needs = {
            name: current[name] - limit for name, limit in goal.items() if current[name] > limit
        }
        self.options = dict(_together((g.name, partial(self._options, g.name)) for g in groups))

    def cost(self, widths: Mapping[str, int]) -> Cost:
        """What the network costs at `widths`, which name every group."""
        key = tuple(widths[name] for name in self._levels)
        if key not in self._known:
            self._known[key] = self._price(widths)
        return self._known[key]

    def meets(self, widths: Mapping[str, int]) -> bool:
        """Whether `widths` reach the goal."""
        return meets(self.cost(widths), self._goal)

    def used(self, widths: Mapping[str, int]) -> float:
        """The largest share of its limit in the goal that `widths` need."""
        cost = self.cost(widths).values_by_resource
        return max(cost[name] / limit for name, limit in self._goal.items())

    def won(self, widths: Mapping[str, int]) -> float:
        """Share of the cost to be saved that `widths` save, all limited resources alike."""
        before = self.cost(self.widths).values_by_resource
        after = self.cost(widths).values_by_resource
        shares = [min(1.0, (before[n] - after[n]) / need) for n, need in self._needs.items()]
        return sum(shares) / max(len(shares), 1)

    def alone(self) -> Iterator[Widths]:
        """For each group that can reach the goal alone, its widest width that does."""
        for name, options in self.options.items():
            for option in options:
                widths = {**self.widths, name: option.width}
                if self.meets(widths):
                    yield widths
                    break

    def greedy(self, lost: Lost) -> Widths:
        """Groups narrowed by what they win for what is `lost`, then widened as far as fits."""
        target = 1.0
        for _ in range(_CORRECTIONS):
            widths = self._picked(lost, target)
            if self.meets(widths):
                return self.refunded(widths, lost)
            target *= 1.05 / max(self.won(widths), 0.5)
        return self.refunded(self.scaled(), lost)

    def scaled(self) -> Widths:
        """All groups narrowed alike, as little as reaches the goal, if anything does.

        What is left where no group wins anything alone: the slowest of two equals decides.
        """
        most = max(len(each) for each in self._levels.values())
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.meets(self._lowered(middle)) else (middle, high)
        found = self._lowered(high)
        if self.meets(found):
            return found
        # Kernels of few channels may take longer than those of more.
        every = [self._lowered(steps) for steps in range(1, most)]
        tried = _together((steps, partial(self.meets, w)) for steps, w in enumerate(every))
        return next((every[steps] for steps, reached in tried if reached), found)

    def neighbours(self, widths: Mapping[str, int], lost: Lost) -> Iterator[Callable[[], Widths]]:
        """Ways to change one group of `widths` to its next option, and others in return."""
        for name, width in widths.items():
            options = [option.width for option in self.options[name]]
            wider = [each for each in (self.widths[name], *options) if each > width]
            narrower = [each for each in options if each < width]
            for other in (*wider[-1:], *narrower[:1]):
                yield partial(self.mended, {**widths, name: other}, lost, fixed=name)

    def mended(self, widths: Widths, lost: Lost, *, fixed: str = "") -> Widths:
        """`widths`, which nearly reach the goal, changed as little as makes them do so.

        The group `fixed` stays as it is, where the others can do it.
        """
        while not self.meets(widths):
            narrower = [
                {**widths, name: max(below)}
                for name, width in widths.items()
                if name != fixed
                and (below := [o.width for o in self.options[name] if o.width < width])
            ]
            if not narrower:
                return self.refunded(self.scaled(), lost)

            def ratio(other: Widths, widths: Widths = widths) -> float:
                more = sum(lost(n, other[n]) - lost(n, w) for n, w in widths.items())
                return (self.won(other) - self.won(widths)) / max(more, _LEAST_LOST)

            widths = max(narrower, key=ratio)
        return self.refunded(widths, lost, fixed=fixed)

    def refunded(self, widths: Widths, lost: Lost, *, fixed: str = "") -> Widths:
        """`widths` with groups widened again, those first that lost most, while the goal is met.

        All but the group `fixed`.
        """
        full = {fixed}
        for _ in range(_REFUNDS):
            narrowed = [n for n in widths if widths[n] < self.widths[n] and n not in full]
            if not narrowed:
                break
            name = max(narrowed, key=lambda n: lost(n, widths[n]) - lost(n, self._wider(n, widths)))
            wider = {**widths, name: self._wider(name, widths)}
            if self.meets(wider):
                widths = wider
            else:
                full.add(name)
        return widths

    def _wider(self, name: str, widths: Mapping[str, int]) -> int:
        above = (level for level in self._levels[name] if level > widths[name])
        return min(next(above, self.widths[name]), self.widths[name])

    def _lowered(self, steps: int) -> Widths:
        """Every group so many levels below its width."""
        widths = {}
        for name, width in self.widths.items():
            below = [level for level in self._levels[name] if level <= width]
            widths[name] = below[-1 - steps] if steps < len(below) else below[0]
        return widths

    def _options(self, name: str) -> list[Option]:
        """The widths below that are worth it, descending."""
        below = [level for level in self._levels[name] if level < self.widths[name]][-_DEPTH:]
        priced = dict(
            _together((width, partial(self.cost, {**self.widths, name: width})) for width in below)
        )
        worthy: set[int] = set()
        for resource in self._needs:
            costs = {w: cost[resource].value for w, cost in priced.items()}
            costs[self.widths[name]] = self.cost(self.widths)[resource].value
            worthy |= set(nondominated(costs))
        options = [Option(w, self.won({**self.widths, name: w})) for w in below if w in worthy]
        return sorted((o for o in options if o.won > 0), key=lambda o: -o.width)

    def _picked(self, lost: Lost, target: float) -> Widths:
        """Options of best ratio, one after the other, until they add up to `target`."""
        at = {name: Option(width, 0.0) for name, width in self.widths.items()}
        while sum(option.won for option in at.values()) < target:
            moves = [
                (
                    (option.won - at[name].won)
                    / max(lost(name, option.width) - lost(name, at[name].width), _LEAST_LOST),
                    name,
                    option,
                )
                for name, options in self.options.items()
                for option in options
                if option.width < at[name].width and option.won > at[name].won
            ]
            if not moves:
                break
            _, name, option = max(moves, key=lambda move: move[0])
            at[name] = option
        return {name: option.width for name, option in at.items()}


def together(questions: Iterable[Callable[[], _V]]) -> list[_V]:
    """The answer to each question; Missing for all that lack something, after the last."""
    answers: list[_V] = []
    missing: list[Missing] = []
    for question in questions:
        try:
            answers.append(question())
        except Missing as lack:
            missing.append(lack)
    if missing:
        raise Missing.together(missing)
    return answers


def _together(questions: Iterable[tuple[_K, Callable[[], _V]]]) -> Iterator[tuple[_K, _V]]:
    """`together`, each answer behind its question's key."""
    asked = list(questions)
    answers = together(question for _, question in asked)
    return zip((key for key, _ in asked), answers, strict=True)
