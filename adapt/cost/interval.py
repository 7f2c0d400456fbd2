"""How sure the sum of a network's kernels is: what all of them share, and what each has alone.

Kernels are measured on one platform, one by one in a loop. How well a loop stands for a network is
an error that they share, so it grows with the total; what each states of itself (how well its
windows agreed, how well an interpolation fits) is independent of the others'. Stated errors alone
are some tenths of a percent of a network, which is off by one to five.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable

from adapt.cost.answer import Answer
from adapt.cost.base import Origin
from adapt.cost.calibration import class_of
from lookup_tables.families import member
from lookup_tables.kernel import Kernel

__all__ = ["SHARED_ERROR", "half_interval_us"]

# Chosen by three runs of `tools/bench/predict.py` on one server, 67 networks each: 85, 94 and 91 %
# were within it. The benchmark prints the share of its networks that are within the interval.
SHARED_ERROR = 0.05


def half_interval_us(
    total_us: float, call_error_us: float, parts: Iterable[tuple[Kernel, Answer]]
) -> float:
    """Half of the interval around `total_us` that holds a network's latency nine times in ten.

    `parts` are the kernels of the network, `call_error_us` is the stated error of the call of the
    runtime. The same kernel twice is off twice in the same direction, and so are interpolated
    kernels of one family, and analytic ones of one operator and type.
    """
    stated: dict[Hashable, float] = defaultdict(float)
    for kernel, answer in parts:
        stated[_together(kernel, answer)] += answer.latency_us * answer.relative_error
    return math.hypot(SHARED_ERROR * total_us, call_error_us, *stated.values())


def _together(kernel: Kernel, answer: Answer) -> Hashable:
    """What is equal for kernels whose stated errors are one."""
    if answer.origin is Origin.ANALYTIC:
        return class_of(kernel)
    place = member(kernel) if answer.origin is Origin.INTERPOLATED else None
    return place.family if place is not None else kernel
