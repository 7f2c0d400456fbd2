"""The seam to energy meters: what each can do, and the course of energy that it saw.

A meter is read many times a second while a model runs; its readings are raw numbers in the units
of its files. What they mean is decided afterwards, from all of them together: some vendors' units
and signs show only then.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

# No device that is measured draws more; readings beyond it are broken, or of another unit.
MAX_MILLIWATTS = 2e6
MAX_NAME = 100
# Between readings further apart, a trace says too little. A busy device delays them.
MAX_GAP_NS = 1_000_000_000


class MeterError(Exception):
    """The meter gives no readings, or such as cannot be meant."""


class FalsifiedError(MeterError):
    """The readings do not tell what the device uses: something else supplies it meanwhile."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a meter: its raw numbers, at an instant of CLOCK_MONOTONIC, nanoseconds."""

    instant_ns: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Energy used since the first sample, over time; linear between samples.

    Attributes:
        instants_ns: of the samples, ascending; CLOCK_MONOTONIC.
        energies_uj: used by then, microjoules, never falling.
        step_uj: smallest step of the meter's counter, microjoules; 0 where it has none.
        step_mw: smallest step of the meter's power readings, milliwatts; 0 where it has none.
    """

    instants_ns: tuple[int, ...]
    energies_uj: tuple[float, ...]
    step_uj: float = 0.0
    step_mw: float = 0.0

    def energy_uj(self, begin_ns: int, end_ns: int) -> float:
        """Energy used between two instants; MeterError where the trace does not cover them."""
        return self._until(end_ns) - self._until(begin_ns)

    def _until(self, instant_ns: int) -> float:
        instants, energies = self.instants_ns, self.energies_uj
        if not instants[0] <= instant_ns <= instants[-1]:
            raise MeterError("the meter was not read for the whole time")
        after = min(bisect_right(instants, instant_ns), len(instants) - 1)
        before = after - 1
        share = (instant_ns - instants[before]) / (instants[after] - instants[before])
        return energies[before] + share * (energies[after] - energies[before])


class Meter(Protocol):
    """Something that tells the energy which the device, or a part of it, uses."""

    @property
    def name(self) -> str:
        """What the meter is called, the same after a restart of the device."""

    @property
    def covers(self) -> str:
        """For people: what uses the energy that it tells."""

    @property
    def settle_ms(self) -> int:
        """How long its readings lag behind a change of power, milliseconds."""

    def read(self) -> tuple[int, ...]:
        """Its raw numbers now; MeterError where there are none."""

    def objection(self) -> str:
        """Why it does not tell just now what the device uses; empty where it does."""

    def trace(self, samples: Sequence[Sample]) -> Trace:
        """What `samples` mean. MeterError where they make no sense, or are too few."""


def meter_name(text: str) -> str:
    """`text` as a name of a meter; it goes into tables, and from there into all kinds of files."""
    return re.sub(r"[^A-Za-z0-9 _.@:/-]+", "-", text).strip(" _.@:/-")[:MAX_NAME]


def counter_trace(samples: Sequence[Sample], ranges_uj: Sequence[int], step_uj: float) -> Trace:
    """The trace of counters, whose readings in microjoules are summed.

    A counter begins again at 0 after its range; one of range 0 never does. MeterError where one
    goes back otherwise, or faster than any device could.
    """
    _check_instants(samples)
    energies = [0.0]
    for before, after in pairwise(samples):
        seconds = max((after.instant_ns - before.instant_ns) / 1e9, 1.0)
        used = 0
        for old, new, limit in zip(before.values, after.values, ranges_uj, strict=True):
            grown = new - old if new >= old else new - old + limit
            if not 0 <= grown <= MAX_MILLIWATTS * 1e3 * seconds:
                raise MeterError(f"a counter of the meter jumped from {old} to {new}")
            used += grown
        energies.append(energies[-1] + used)
    return Trace(tuple(s.instant_ns for s in samples), tuple(energies), step_uj=step_uj)


def power_trace(samples: Sequence[Sample], milliwatts: Sequence[float], step_mw: float) -> Trace:
    """The trace of power readings, one for each sample. MeterError for powers beyond all reason."""
    _check_instants(samples)
    energies = [0.0]
    for power in milliwatts:
        if not 0 <= power <= MAX_MILLIWATTS:
            raise MeterError(f"the meter tells a power of {power:g} mW")
    for (before, old), (after, new) in pairwise(zip(samples, milliwatts, strict=True)):
        milliseconds = (after.instant_ns - before.instant_ns) / 1e6
        energies.append(energies[-1] + (old + new) / 2 * milliseconds)
    return Trace(tuple(s.instant_ns for s in samples), tuple(energies), step_mw=step_mw)


def smallest_step(values: Sequence[int]) -> int:
    """The smallest difference between readings, which is their grain or more.

    1 where all agree, and nothing can be told.
    """
    return min((b - a for a, b in pairwise(sorted(set(values)))), default=1)


def _check_instants(samples: Sequence[Sample]) -> None:
    if len(samples) < 2:
        raise MeterError("the meter could not be read")
    for before, after in pairwise(samples):
        gap_ns = after.instant_ns - before.instant_ns
        if not 0 < gap_ns <= MAX_GAP_NS:
            raise MeterError(f"the meter could not be read for {gap_ns / 1e9:.1f} s")
