"""Which measurements to believe: raw windows in, an accepted latency or a reason out. Pure.

A window is a few milliseconds of back-to-back runs of one model, timed by the agent. Contention
only ever makes a window slower, and it comes in bursts, so the two fastest windows of a model,
taken at different moments, agree when both ran undisturbed. Their agreement is the stated error.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Accepted",
    "Reason",
    "Rejected",
    "Window",
    "cold_time",
    "judge",
    "kernel_error",
    "kernel_time",
]

# No kernel runs for a quarter of an hour: a larger figure is a broken clock or a wrong unit.
MAX_LATENCY_US = 1e9

# The target is what the agent strives for; a result that ran out of windows on a noisy device is
# still worth its larger stated error up to this many targets (2 % at the usual target of 1 %).
ACCEPTABLE_TARGETS = 2.0

# Clock scaling and contention together slow a window down by less than this. Two windows that are
# faster than the typical one by more were timed by a clock that jumped.
MAX_SPEED_UP = 20.0

# A thread cannot use more CPU time than has passed. What the two clocks may differ by all the same:
# a share for the different statistics of skewed samples, and their resolution for each sample.
CPU_CLOCK_SHARE = 0.25
CPU_CLOCK_RESOLUTION_US = 5.0

# Statistics of the same samples are ordered up to rounding.
ROUNDING = 1e-6

# Subtracting the null op may leave nothing, but no kernel is free: the resolution of the clock.
MIN_KERNEL_US = 0.001

# Two windows are the least that can agree.
MIN_WINDOWS = 2


class Reason(StrEnum):
    """Why a measurement was not accepted. The first three speak of the model, not of the moment."""

    CRASHED = "crashed"
    HUNG = "hung"
    REFUSED = "refused"
    INVALID = "invalid"
    TOO_FEW_WINDOWS = "too few windows"
    PREEMPTED = "preempted"
    UNSTEADY = "unsteady"
    CLOCK = "clock"
    NO_NULL = "no null time"

    @property
    def poisonous(self) -> bool:
        """Whether the model itself is at fault, so that trying again for ever helps nobody."""
        return self in (Reason.CRASHED, Reason.HUNG, Reason.REFUSED)


@dataclass(frozen=True, slots=True)
class Window:
    """Statistics of one window; times are for one run of the model.

    Attributes:
        samples: timed samples, 1 or more.
        preempted: samples left out because the thread lost its core; at most `samples`. Where all
            were, the statistics are over all samples and not to be trusted.
        invokes_per_sample: runs of the model in one sample, 1 or more.
        low_us: 25th percentile of wall time over the kept samples, microseconds.
        median_us: median likewise.
        min_us: smallest likewise.
        cpu_us: median CPU time of the calling thread, microseconds.
        start_ms: when the window began, milliseconds after its batch did.
    """

    samples: int
    preempted: int
    invokes_per_sample: int
    low_us: float
    median_us: float
    min_us: float
    cpu_us: float
    start_ms: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """A latency to believe.

    Attributes:
        latency_us: wall time of one run, microseconds; mean of the two fastest windows.
        relative_error: difference of those two as a share of their mean.
        windows_used: windows that were undisturbed enough to be considered.
    """

    latency_us: float
    relative_error: float
    windows_used: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A result not to believe: what kind of fault, and what was seen, for people."""

    reason: Reason
    detail: str


def judge(windows: Sequence[Window], *, target_relative_error: float) -> Accepted | Rejected:
    """Decide whether `windows`, all of one model in one batch, give a latency to believe.

    `target_relative_error` is what the agent was asked to reach. A result that fell short of it is
    accepted with its larger error up to ACCEPTABLE_TARGETS times the target.
    """
    for number, window in enumerate(windows):
        fault = _fault(window)
        if fault is not None:
            return Rejected(fault.reason, f"window {number}: {fault.detail}")
    clean = [w for w in windows if w.preempted < w.samples]
    if windows and not clean:
        return Rejected(Reason.PREEMPTED, f"every sample of all {len(windows)} windows")
    if len(clean) < MIN_WINDOWS:
        return Rejected(
            Reason.TOO_FEW_WINDOWS, f"{len(clean)} undisturbed of {len(windows)}, 2 are needed"
        )
    return _agreement(sorted(w.low_us for w in clean), target_relative_error)


def _agreement(lows: Sequence[float], target: float) -> Accepted | Rejected:
    """Verdict on the 25th percentiles of the undisturbed windows, ascending, microseconds."""
    latency = (lows[0] + lows[1]) / 2
    error = (lows[1] - lows[0]) / latency
    if error > target * ACCEPTABLE_TARGETS:
        return Rejected(
            Reason.UNSTEADY,
            f"the two fastest of {len(lows)} windows differ by {error:.1%}"
            f" ({lows[0]:.6g} and {lows[1]:.6g} us); {target * ACCEPTABLE_TARGETS:.1%} is allowed",
        )
    typical = statistics.median(lows)
    if typical > latency * MAX_SPEED_UP:
        return Rejected(
            Reason.CLOCK,
            f"the two fastest windows took {latency:.6g} us, the typical one {typical:.6g} us",
        )
    return Accepted(latency, error, len(lows))


def _fault(window: Window) -> Rejected | None:
    """What makes `window` impossible, whatever the others say; None where nothing does."""
    if not (window.samples >= 1 and 0 <= window.preempted <= window.samples):
        return Rejected(Reason.INVALID, f"{window.preempted} of {window.samples} samples preempted")
    if window.invokes_per_sample < 1:
        return Rejected(Reason.INVALID, f"{window.invokes_per_sample} runs in a sample")
    for name in ("min_us", "low_us", "median_us"):
        value = getattr(window, name)
        if not 0 < value < MAX_LATENCY_US:
            return Rejected(Reason.INVALID, f"{name} is {value}")
    for name in ("cpu_us", "start_ms"):
        value = getattr(window, name)
        if not (math.isfinite(value) and value >= 0):
            return Rejected(Reason.INVALID, f"{name} is {value}")
    slack = 1 + ROUNDING
    if not window.min_us <= window.low_us * slack <= window.median_us * slack**2:
        return Rejected(
            Reason.INVALID,
            f"minimum {window.min_us}, low quantile {window.low_us} and median"
            f" {window.median_us} us are out of order",
        )
    resolution = CPU_CLOCK_RESOLUTION_US / window.invokes_per_sample
    if window.cpu_us > window.median_us * (1 + CPU_CLOCK_SHARE) + resolution:
        return Rejected(
            Reason.CLOCK,
            f"{window.cpu_us:.6g} us of CPU time passed in {window.median_us:.6g} us of wall time",
        )
    return None


def kernel_time(latency_us: float, null_us: float) -> float:
    """Time of the kernel itself: the one-op model's latency less that of a model doing nothing.

    Both in microseconds, of one batch. Never below MIN_KERNEL_US.
    """
    return max(latency_us - null_us, MIN_KERNEL_US)


def kernel_error(measured: Accepted, null_us: float, null_error: float) -> float:
    """Relative error of `kernel_time`: that of both terms added up, on the smaller difference.

    `null_error` is the relative error of `null_us`.
    """
    spread_us = measured.latency_us * measured.relative_error + null_us * null_error
    return spread_us / kernel_time(measured.latency_us, null_us)


def cold_time(all_copies: Accepted, copies: int, null: Accepted, beside_us: float) -> Accepted:
    """Time of a kernel with cold weights, from a model with so many `copies` of it.

    Each copy takes the kernel's time and `beside_us`, what the model does beside each,
    microseconds; `null` is the null op of the same batch. Never below MIN_KERNEL_US. The error is
    that of both models added up.
    """
    each_us = (all_copies.latency_us - null.latency_us) / copies
    latency_us = max(each_us - beside_us, MIN_KERNEL_US)
    spread_us = (
        all_copies.latency_us * all_copies.relative_error + null.latency_us * null.relative_error
    ) / copies
    used = min(null.windows_used, all_copies.windows_used)
    return Accepted(latency_us, spread_us / latency_us, used)
