"""Runs one model for seconds between two rests, so that a meter can tell what it uses.

This side runs in the worker and knows no meter: it notes when what happened. The marks are laid
against the meter's trace by the agent, see `energy`. Rest and run begin after the meter has had
time to settle, so that no mark lies where the power changes.

Pure: the clock comes in, the model as `invoke`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

from device_agent.estimator import LONG_RUN_NS, Invoke, collector_paused

# Their spread is the uncertainty of the mean.
RUN_SLICES = 8
REST_SLICES = 4
# A model slower than a slice runs at least this often, since one slice has no spread.
MIN_RUN_SLICES = 3
# Time without a sign of life.
MAX_SILENCE_NS = 1_000_000_000
MAX_MARKS = 1_000
MAX_INVOKES = 2**53


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to wait after each change, to rest before and after, and to run; milliseconds."""

    settle_ms: int
    rest_ms: int
    run_ms: int

    @property
    def total_ms(self) -> int:
        """All of it, for a model that is faster than a slice."""
        return 3 * self.settle_ms + 2 * self.rest_ms + self.run_ms


@dataclass(frozen=True, slots=True)
class Clock:
    """CLOCK_MONOTONIC in nanoseconds, which agent and worker share, and waiting by it."""

    now_ns: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Exercise:
    """When what happened: instants of CLOCK_MONOTONIC that bound slices, nanoseconds.

    `invokes` holds how often the model ran in each slice of `run`.
    """

    before: tuple[int, ...]
    run: tuple[int, ...]
    invokes: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Exercise:
        """What a worker told; ValueError, LookupError or TypeError where it makes no sense."""
        marks = {name: tuple(values[name]) for name in ("before", "run", "after")}
        invokes = tuple(values["invokes"])
        instants = (*marks["before"], *marks["run"], *marks["after"])
        if not all(type(v) is int for v in (*instants, *invokes)) or len(instants) > MAX_MARKS:
            raise ValueError("the marks are no numbers, or too many")
        if not all(a < b for a, b in pairwise(instants)):
            raise ValueError("the marks are not in order")
        if min(map(len, marks.values())) < 2 or len(invokes) != len(marks["run"]) - 1:
            raise ValueError("marks are lacking")
        if not all(0 < count <= MAX_INVOKES for count in invokes):
            raise ValueError("a slice without a run of the model")
        return cls(**marks, invokes=invokes)


def perform(
    invoke: Invoke, runs: int, schedule: Schedule, clock: Clock, alive: Callable[[], None]
) -> Exercise:
    """Rest, run the model over and over, rest again.

    The clock is read after every `runs` runs; `alive` is called at least every two seconds, or
    after such a round of runs where that takes longer.
    """
    before = _rest(schedule, clock, alive)
    with collector_paused():
        run, invokes = _run(invoke, runs, schedule, clock, alive)
    after = _rest(schedule, clock, alive)
    return Exercise(before, run, invokes, after)


def _rest(schedule: Schedule, clock: Clock, alive: Callable[[], None]) -> tuple[int, ...]:
    marks = [_sleep_until(clock.now_ns() + schedule.settle_ms * 1_000_000, clock, alive)]
    slice_ns = schedule.rest_ms * 1_000_000 // REST_SLICES
    for _ in range(REST_SLICES):
        marks.append(_sleep_until(marks[-1] + slice_ns, clock, alive))
    return tuple(marks)


def _sleep_until(instant_ns: int, clock: Clock, alive: Callable[[], None]) -> int:
    """Sleep; the instant at which that ended."""
    while (left_ns := instant_ns - clock.now_ns()) > 0:
        clock.sleep(min(left_ns, MAX_SILENCE_NS) / 1e9)
        alive()
    return clock.now_ns()


def _run(
    invoke: Invoke, runs: int, schedule: Schedule, clock: Clock, alive: Callable[[], None]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Marks of the slices, and how often the model ran in each."""

    told_ns = clock.now_ns()

    def run_until(instant_ns: int) -> int:
        nonlocal told_ns
        count, now = 0, clock.now_ns()
        while now < instant_ns or not count:
            begin = now
            for _ in repeat(None, runs):
                invoke()
            count += runs
            now = clock.now_ns()
            if now - begin > LONG_RUN_NS or now - told_ns > MAX_SILENCE_NS:
                alive()
                told_ns = now
        return count

    run_until(clock.now_ns() + schedule.settle_ms * 1_000_000)
    begin_ns = clock.now_ns()
    marks = [begin_ns]
    invokes: list[int] = []
    for number in range(1, RUN_SLICES + 1):
        end_ns = begin_ns + schedule.run_ms * 1_000_000 * number // RUN_SLICES
        # A slow model may have passed the end of this slice within the one before.
        if marks[-1] < end_ns or RUN_SLICES - number < MIN_RUN_SLICES - len(invokes):
            invokes.append(run_until(end_ns))
            marks.append(clock.now_ns())
    return tuple(marks), tuple(invokes)
