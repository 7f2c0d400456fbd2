"""How a job gets on, on stderr: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.text import Text

from adapt.budget import format_amount
from adapt.cost.base import Cost
from adapt.methods.base import Iteration, Phase, State, cost_of

__all__ = ["Watcher", "listener"]

# Plain logs get a line about measurements at most this often, seconds.
_QUIET_SECONDS = 10.0


class Watcher:
    """Prints a line for each completed step; keeps what goes on now in a live line."""

    def __init__(self, console: Console, live: Status | None) -> None:
        self._console = console
        self._live = live
        self._standing: dict[str, tuple[Phase, int, int]] = {}
        self._started: dict[str, tuple[float, float]] = {}
        self._spoken = 0.0

    def began(self, folder: Path) -> None:
        """The job can be resumed from now on: say where it is."""
        self._print(f"job {folder}")

    def notify(self, line: str) -> None:
        """What goes on now: live on a terminal, otherwise only now and then."""
        if self._live is not None:
            self._live.update(Text(line))
        elif time.monotonic() - self._spoken >= _QUIET_SECONDS:
            self._print(line)

    def say(self, line: str) -> None:
        """What has been found: a line that stays."""
        self._print(line)

    def measuring(self, done: int, total: int, device: str) -> None:
        """So many kernels of `total` are measured on `device`."""
        self.notify(f"measuring kernels on {device}, {done} of {total}")

    def advanced(self, track: str, state: State) -> None:
        """One step is complete: a line where it was an iteration's last, or trained."""
        if not state.history:
            return
        standing = state.phase, state.history[-1].number, state.long_steps_done
        if self._standing.get(track) == standing:
            return
        self._standing[track] = standing
        point = state.history[-1]
        cost = cost_of(point.cost)
        amounts = ", ".join(_amount(state, cost, name) for name in state.limits)
        label = f"{track}: " if track else ""
        match state.phase:
            case Phase.SEARCH:
                what = f"iteration {point.number}" + (f", {point.group}" if point.group else "")
                left = self._time_left(track, state)
                self._print(
                    f"{label}{what}: {amounts}{_bound(state, point)}, hold-out {point.accuracy:.1%}"
                    + (f", about {left} of search left" if left else "")
                )
            case Phase.FINISH:
                self._print(f"{label}fine-tuning: {state.long_steps_done} steps done")
            case Phase.DONE:
                self._print(f"{label}fine-tuned: {amounts}")

    def _print(self, line: str) -> None:
        self._spoken = time.monotonic()
        # As Text, since brackets in a path or a platform's name are no markup.
        self._console.print(Text(line), soft_wrap=True)

    def _time_left(self, track: str, state: State) -> str:
        """What is left of the search, by the cost that has fallen since this sitting began."""
        if state.minimised:  # How far it goes, accuracy will tell.
            return ""
        done = min(_way(state, name) for name in state.limits)
        now = time.monotonic()
        started, at_start = self._started.setdefault(track, (now, done))
        if done <= at_start or done >= 1.0:
            return ""
        seconds = (now - started) * (1.0 - done) / (done - at_start)
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _amount(state: State, cost: Cost, name: str) -> str:
    """What is needed of a resource, beside its limit, or else beside what the original needs."""
    text = f"{name} {format_amount(name, cost[name].value)}"
    if name not in state.minimised:
        return f"{text} of {format_amount(name, state.limits[name])}"
    original = cost_of(state.original)[name].value
    return f"{text}, {cost[name].value / original:.1%} of the original's"


def _bound(state: State, point: Iteration) -> str:
    """Which of several limits kept the network from being wider."""
    return f", bound by {point.binding}" if point.binding and len(state.limits) > 1 else ""


def _way(state: State, resource: str) -> float:
    """How much of the way from the original cost to the limit is gone, 0 to 1."""
    original = cost_of(state.original)[resource].value
    current = cost_of(state.history[-1].cost)[resource].value
    gap = original - state.limits[resource]
    return 1.0 if gap <= 0 else min(1.0, (original - current) / gap)


@contextmanager
def listener() -> Iterator[Watcher]:
    """A watcher on stderr; its live line is gone at the end."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("starting") as live:
            yield Watcher(console, live)
    else:
        yield Watcher(console, None)
