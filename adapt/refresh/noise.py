"""How much kernels' times change on a device on which nothing has changed. Pure.

Learnt from what the table has measured more than once. Two things change from one sitting to the
next: the device is a little faster or slower with all kernels together, and each kernel has its own
luck with the placement of its weights. As long as there is little history, typical values stand in:
they count as so many observations.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, median

from lookup_tables.survey import Repeat

__all__ = ["Noise", "learn_noise"]

# Batches further apart than this were measured in different sittings.
_SITTING_GAP_S = 1800.0

# A median over fewer kernels is one kernel's luck.
_MIN_REPEATS = 3

# The device as a whole: half of its shifts are below this. (A shared server: 3 % now and then.)
_TYPICAL_SHIFT = 0.01
_SHIFTS_ASSUMED = 5

# A kernel by itself: nine of ten stay below this, by the microseconds from which it holds.
_TYPICAL_SCATTER = {0.0: 0.10, 1.0: 0.05, 10.0: 0.03}
_SCATTERS_ASSUMED = 20
_SCATTER_QUANTILE = 0.9


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the logarithm of a time.

    Attributes:
        device: from sitting to sitting, of all kernels together.
        scatter: of a kernel beside the others, by microseconds from which it holds, ascending.
    """

    device: float
    scatter: tuple[tuple[float, float], ...]

    def of(self, latency_us: float) -> float:
        """The scatter of a kernel of this time."""
        return next(value for start, value in reversed(self.scatter) if latency_us >= start)


def learn_noise(repeats: Iterable[Repeat], drifted_at: Sequence[float] = ()) -> Noise:
    """The noise that `repeats` show.

    Those that span a moment of `drifted_at`, seconds since 1970, at which a drift was noticed, show
    the drift and are left out.
    """
    kept = [
        repeat
        for repeat in repeats
        if not any(repeat.before_at < moment <= repeat.at for moment in drifted_at)
    ]
    shifts: list[float] = []
    scatter: dict[float, list[float]] = {start: [] for start in _TYPICAL_SCATTER}
    for (earlier, later), leap in _leaps(kept).items():
        if len(leap) < _MIN_REPEATS:
            continue
        changes = [math.log(repeat.latency_us / repeat.before_us) for repeat in leap]
        shift = median(changes)
        if earlier != later:
            shifts.append(abs(shift))
        for repeat, change in zip(leap, changes, strict=True):
            start = max(start for start in scatter if start <= repeat.before_us)
            scatter[start].append(abs(change - shift))
    return Noise(
        _deviation(shifts, _TYPICAL_SHIFT, _SHIFTS_ASSUMED, 0.5),
        tuple(
            (start, _deviation(seen, typical, _SCATTERS_ASSUMED, _SCATTER_QUANTILE))
            for (start, typical), seen in zip(
                _TYPICAL_SCATTER.items(), scatter.values(), strict=True
            )
        ),
    )


def _leaps(repeats: Sequence[Repeat]) -> dict[tuple[int, int], list[Repeat]]:
    """Repeats by the sittings of their two measurements."""
    moments = sorted({moment for repeat in repeats for moment in (repeat.before_at, repeat.at)})
    starts = [later for earlier, later in pairwise(moments) if later - earlier > _SITTING_GAP_S]
    leaps: dict[tuple[int, int], list[Repeat]] = defaultdict(list)
    for repeat in repeats:
        sittings = bisect_right(starts, repeat.before_at), bisect_right(starts, repeat.at)
        leaps[sittings].append(repeat)
    return leaps


def _deviation(seen: Sequence[float], typical: float, assumed: int, share: float) -> float:
    """The standard deviation whose magnitudes have the `share` quantile of `seen`.

    Magnitudes are of a normal distribution; `typical` counts as `assumed` observations of its own.
    A quantile, since a few kernels stray by far more than a normal distribution knows.
    """
    magnitudes = sorted([*seen, *[typical] * assumed])
    observed = magnitudes[math.ceil(share * len(magnitudes)) - 1]
    return observed / NormalDist().inv_cdf((1 + share) / 2)
