"""How long does a model take, on a machine that does other things as well?

Means are useless there: one preempted run is a thousand times too long. Three rules survive:

1. A sample is timed by wall clock and by CPU clock; where the two differ, something else ran.
2. Short models run several times in a sample; of the samples of a window of a few milliseconds,
   the 25th percentile counts.
3. The windows of all models are interleaved, so that those of one model lie apart in time, and go
   on until there are a few and the two lowest of a model agree: contention comes in bursts, and a
   burst never makes a window too short.

Pure: clocks come in as functions, models as `invoke`.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Protocol

Invoke = Callable[[], object]

# Below this, the cost and the grain of reading the clocks show in a sample.
MIN_SAMPLE_NS = 20_000
# Bounds the search for invokes_per_sample where a clock does not advance.
MAX_INVOKES_PER_SAMPLE = 10_000
# Wall time beyond CPU time that a sample may show: reading the clocks costs up to 1.5 us, and
# timer interrupts account for up to 2 % without another process having run.
PREEMPTED_NS = 1_500
PREEMPTED_SHARE = 0.02
# A model slower than the window is still run this often, so that its window has a low quantile.
MIN_SAMPLES = 3
LOW_QUANTILE = 0.25
# Two windows agree by chance on a time that is too long. Asking for four lowers the median spread
# between fresh processes (seen: 2.0 to 1.1-1.4 %, noisy 2 cores), at a fifth of the throughput.
MIN_WINDOWS = 4
# Windows of one model begin at least this far apart: neighbours would lie in the same burst of
# contention and agree on a time that is too long. Matters only when few models are left.
SPREAD_NS = 50_000_000
# Runs longer than this are reported as signs of life, one by one.
LONG_RUN_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks in nanoseconds: wall time, and CPU time of the calling thread."""

    wall_ns: Callable[[], int] = time.perf_counter_ns
    cpu_ns: Callable[[], int] = time.thread_time_ns


@dataclass(frozen=True, slots=True)
class Plan:
    """What one batch asks for; `start_ns` and `deadline_ns` are readings of the wall clock."""

    target_relative_error: float
    max_windows: int
    window_us: int
    start_ns: int
    deadline_ns: int
    # With more than one thread the calling thread waits for the others: nothing can be told then.
    filter_preempted: bool = True


@dataclass(frozen=True, slots=True)
class Window:
    """Statistics of one window; fields as in agent.proto."""

    samples: int
    preempted: int
    invokes_per_sample: int
    low_us: float
    median_us: float
    min_us: float
    cpu_us: float
    start_ms: float


@dataclass(slots=True)
class Subject:
    """A loaded model, and what was timed of it so far, here or in an earlier worker.

    `windows` counts them all; `lows` holds the low_us of those that were not wholly preempted.
    `keep` must live as long as `invoke` is called.
    """

    id: str
    invoke: Invoke
    invokes_per_sample: int
    windows: int = 0
    lows: list[float] = field(default_factory=list)
    keep: object = None


class Listener(Protocol):
    """Is told what happens to which model, before or after but never during a sample."""

    def starting(self, model_id: str, stage: str) -> None:
        """The model is about to be touched."""

    def alive(self) -> None:
        """A long run has ended, and another begins."""

    def timed(self, model_id: str, window: Window) -> None:
        """A window is complete."""

    def left(self, model_id: str, converged: bool) -> None:
        """The model is not timed again: settled, or out of windows."""

    def refused(self, model_id: str, error: Exception) -> None:
        """The runtime would not run the model."""


def quantile(ordered: Sequence[float], share: float) -> float:
    """The `share` quantile of ascending values, linear between neighbours."""
    position = (len(ordered) - 1) * share
    below = math.floor(position)
    above = math.ceil(position)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def agrees(lows: Sequence[float], target_relative_error: float) -> bool:
    """Whether the two lowest windows differ by no more than the target."""
    if len(lows) < 2:
        return False
    lowest, second = sorted(lows)[:2]
    return second - lowest <= target_relative_error * lowest


def calibrate(invoke: Invoke, clock: Clock) -> int:
    """Warm the model up; return how many runs make a sample of MIN_SAMPLE_NS."""
    invoke()
    runs = 1
    while runs < MAX_INVOKES_PER_SAMPLE:
        begin = clock.wall_ns()
        for _ in repeat(None, runs):
            invoke()
        took = clock.wall_ns() - begin
        if took >= MIN_SAMPLE_NS:
            break
        # A little more than proportional, since the first runs are slower than the rest.
        growth = 1.1 * MIN_SAMPLE_NS / max(took, 1)
        runs = min(math.ceil(runs * max(growth, 1.1)), runs * 8, MAX_INVOKES_PER_SAMPLE)
    return runs


def time_window(subject: Subject, plan: Plan, clock: Clock, alive: Callable[[], None]) -> Window:
    """Time one window of `subject`: at least MIN_SAMPLES samples, or one after the deadline."""
    invoke, runs = subject.invoke, subject.invokes_per_sample
    wall_ns, cpu_ns = clock.wall_ns, clock.cpu_ns
    samples: list[tuple[int, int]] = []
    # The other models of the batch have emptied the caches since this one's last window.
    invoke()
    begin = now = wall_ns()
    end = begin + plan.window_us * 1000
    while now < end or len(samples) < MIN_SAMPLES:
        cpu = cpu_ns()
        start = wall_ns()
        for _ in repeat(None, runs):
            invoke()
        now = wall_ns()
        samples.append((now - start, cpu_ns() - cpu))
        if now >= plan.deadline_ns:
            break
        if now - start > LONG_RUN_NS:
            alive()
    return summarise(samples, runs, (begin - plan.start_ns) / 1e6, plan.filter_preempted)


def summarise(
    samples: Sequence[tuple[int, int]], runs: int, start_ms: float, filter_preempted: bool
) -> Window:
    """Statistics of (wall, CPU) nanoseconds of samples of `runs` runs each.

    Where every sample was preempted, the statistics are over all of them, and `preempted` says so.
    """
    kept = [pair for pair in samples if not (filter_preempted and was_preempted(*pair))]
    preempted = len(samples) - len(kept)
    used = kept or samples
    walls = sorted(wall / runs / 1000 for wall, _ in used)
    cpus = sorted(cpu / runs / 1000 for _, cpu in used)
    return Window(
        samples=len(samples),
        preempted=preempted,
        invokes_per_sample=runs,
        low_us=quantile(walls, LOW_QUANTILE),
        median_us=quantile(walls, 0.5),
        min_us=walls[0],
        cpu_us=quantile(cpus, 0.5),
        start_ms=max(start_ms, 0.0),
    )


def was_preempted(wall_ns: int, cpu_ns: int) -> bool:
    """Whether something else ran during a sample of the calling thread."""
    return wall_ns - cpu_ns > max(PREEMPTED_SHARE * wall_ns, PREEMPTED_NS)


def interleave(subjects: Sequence[Subject], plan: Plan, clock: Clock, listener: Listener) -> None:
    """Time rounds of one window for each model until all have settled or the plan's limits come."""
    waiting = list(subjects)
    with collector_paused():
        while waiting:
            round_end = min(clock.wall_ns() + SPREAD_NS, plan.deadline_ns)
            for subject in tuple(waiting):
                if clock.wall_ns() >= plan.deadline_ns:
                    return
                if not _one_window(subject, plan, clock, listener):
                    waiting.remove(subject)
            # Awake rather than asleep, so that the core keeps its clock speed.
            while waiting and clock.wall_ns() < round_end:
                pass


def _one_window(subject: Subject, plan: Plan, clock: Clock, listener: Listener) -> bool:
    """Time one window; whether the model needs another."""
    listener.starting(subject.id, "window")
    try:
        window = time_window(subject, plan, clock, listener.alive)
    except MemoryError:
        raise
    except Exception as error:  # Whatever the runtime raises, it speaks of this model alone.
        listener.refused(subject.id, error)
        return False
    subject.windows += 1
    if window.preempted < window.samples:
        subject.lows.append(window.low_us)
    listener.timed(subject.id, window)
    enough = len(subject.lows) >= min(MIN_WINDOWS, plan.max_windows)
    converged = enough and agrees(subject.lows, plan.target_relative_error)
    if converged or subject.windows >= plan.max_windows:
        listener.left(subject.id, converged)
        return False
    return True


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: it would land in a sample."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
