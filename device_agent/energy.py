"""How much energy does one inference take, on a device that uses some at rest as well?

What the meter told while the model ran, less the idle power of the rests before and after, divided
by the runs. No meter resolves one run of a kernel, and idle power wanders; so the result comes with
its standard uncertainty, the root of the sum of squares of

- the spread of the slices of the run, each priced by itself, and of the slices of the rests;
- the drift of idle power from the rest before to the rest after, which may have been anywhere
  between them meanwhile;
- the grain of the meter.

Where that is half of the result or more, there is none. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from device_agent.exercise import Exercise
from device_agent.power.meter import Trace

# Beyond it a result says little more than that the model takes energy.
MAX_RELATIVE_ERROR = 0.5


class UnsteadyError(Exception):
    """The energy of the model cannot be told from that of all else; the message says why."""


@dataclass(frozen=True, slots=True)
class Energy:
    """What a model used; fields as in agent.proto."""

    run_uj: float
    run_ms: float
    invokes: int
    idle_before_mw: float
    idle_after_mw: float
    error_uj: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Idle power, milliwatts, with the uncertainty of its mean."""

    power_mw: float
    error_mw: float


def estimate(trace: Trace, exercise: Exercise) -> Energy:
    """The energy of one exercise; UnsteadyError, or MeterError where the trace does not reach."""
    before = _rest(trace, exercise.before)
    after = _rest(trace, exercise.after)
    idle_mw = (before.power_mw + after.power_mw) / 2
    run_uj, run_ms = _used(trace, exercise.run[0], exercise.run[-1])
    invokes = sum(exercise.invokes)
    net_uj = run_uj - idle_mw * run_ms
    drift_mw = abs(after.power_mw - before.power_mw)
    idle_error_mw = math.hypot(
        before.error_mw / 2,
        after.error_mw / 2,
        # Of a value that may lie anywhere within half the drift to either side of the mean.
        drift_mw / 2 / math.sqrt(3),
        trace.step_mw,
    )
    error_uj = math.hypot(
        _spread(_slice_energies(trace, exercise, idle_mw)) * invokes,
        idle_error_mw * run_ms,
        trace.step_uj,
    )
    if net_uj <= 0 or error_uj > MAX_RELATIVE_ERROR * net_uj:
        raise UnsteadyError(
            f"idle power was {before.power_mw:.1f} mW before and {after.power_mw:.1f} mW after,"
            f" the model took {net_uj / run_ms:.1f} +- {error_uj / run_ms:.1f} mW more"
        )
    return Energy(
        run_uj=run_uj,
        run_ms=run_ms,
        invokes=invokes,
        idle_before_mw=before.power_mw,
        idle_after_mw=after.power_mw,
        error_uj=error_uj / invokes,
    )


def _rest(trace: Trace, marks: Sequence[int]) -> Rest:
    used_uj, milliseconds = _used(trace, marks[0], marks[-1])
    powers = [uj / ms for uj, ms in (_used(trace, a, b) for a, b in pairwise(marks))]
    error_mw = math.hypot(_spread(powers), trace.step_uj / milliseconds)
    return Rest(used_uj / milliseconds, error_mw)


def _slice_energies(trace: Trace, exercise: Exercise, idle_mw: float) -> list[float]:
    """Energy of one run above idle, microjoules, as each slice tells it."""
    used = (_used(trace, a, b) for a, b in pairwise(exercise.run))
    return [
        (uj - idle_mw * ms) / count for (uj, ms), count in zip(used, exercise.invokes, strict=True)
    ]


def _used(trace: Trace, begin_ns: int, end_ns: int) -> tuple[float, float]:
    """Microjoules used between two instants, and milliseconds between them."""
    return trace.energy_uj(begin_ns, end_ns), (end_ns - begin_ns) / 1e6


def _spread(values: Sequence[float]) -> float:
    """Standard uncertainty of the mean of `values`."""
    if len(values) < 2:
        return 0.0
    return statistics.stdev(values) / math.sqrt(len(values))
