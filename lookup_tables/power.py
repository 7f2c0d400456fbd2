"""The energy of kernels that never ran under a meter: their time and the power of their like. Pure.

A meter needs ten seconds for a kernel, a clock a few hundredths of one. But a core draws much the
same power whatever the shape, as long as operator and type of data are the same: a few samples of
each such kind say what all the others take, of which only the times need be known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lookup_tables.kernel import Kernel

__all__ = ["SAMPLES", "Power", "PowerSample", "choose_samples", "kind_of", "power_of"]

# Kernels of one kind that are measured before the others are estimated.
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class PowerSample:
    """A kernel whose time, microseconds, and energy, microjoules, are both known."""

    latency_us: float
    energy_uj: float


@dataclass(frozen=True, slots=True)
class Power:
    """Power of a kind, watts, which are microjoules a microsecond.

    Attributes:
        relative_error: by how much the samples differ, as a share; the longer ones weigh more.
    """

    watts: float
    relative_error: float


def kind_of(kernel: Kernel) -> tuple[str, str]:
    """Operator and type of data: kernels of one kind are taken to draw the same power."""
    return kernel.op, kernel.dtype


def power_of(samples: Sequence[PowerSample]) -> Power | None:
    """The power of a kind, from at least SAMPLES samples of it; None from fewer.

    All their energy over all their time: the long ones, which matter most in a network and are
    known best, count most. Does not depend on the order of `samples`.
    """
    if len(samples) < SAMPLES:
        return None
    time_us = math.fsum(sample.latency_us for sample in samples)
    watts = math.fsum(sample.energy_uj for sample in samples) / time_us
    spread = math.fsum(
        sample.latency_us * (sample.energy_uj / sample.latency_us - watts) ** 2
        for sample in samples
    )
    return Power(watts, math.sqrt(spread / time_us) / watts)


def choose_samples(latencies_us: Mapping[Kernel, float], known: int) -> list[Kernel]:
    """Kernels of one kind, of those given with their times, that are to be measured next.

    As many as lack to SAMPLES when `known` have been measured: from the longest to the shortest in
    even steps, so that the kind is seen over its whole range.
    """
    ranked = sorted(latencies_us, key=lambda kernel: (-latencies_us[kernel], kernel.text))
    count = min(SAMPLES - known, len(ranked))
    if count < 2:
        return ranked[: max(count, 0)]
    return [ranked[step * (len(ranked) - 1) // (count - 1)] for step in range(count)]
