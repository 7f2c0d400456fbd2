"""How a kernel's time steps with its channels, learnt from one dense sweep.

Kernels work on tiles of channels: time rises by steps, and with some operators a count off the
tile costs more than the next multiple. Plotted over the *effective* channels of its staircase the
same time is a smooth, nearly straight line, which a few measurements settle.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["SWEEP", "SWEPT", "Staircase", "find_staircase"]

# Vector units and the kernels written for them step by 4 to 32 channels. Up to here every count is
# measured: the first tiles often differ from those that follow, and a profile needs a whole tile.
SWEPT = 96

# Channel counts to measure for a staircase. The later ones only show which tile goes on as it was.
SWEEP = (*range(1, SWEPT + 1), 97, 100, 104, 105, 111, 112, 113, 120, 121, 127, 128)

# A count that takes no more than this share longer than another is on the same step: noise.
_SAME_STEP = 0.03

# Of tiles that predict the later counts almost equally well the smallest is meant: a multiple of
# the tile predicts as well, and fits noise a little better.
_AS_GOOD = 1.5
_AS_GOOD_BY = 0.003

# No count amounts to less than this, however a line through the steps runs.
_LEAST = 0.125

# Fewer points than this tell no tile from another.
_MIN_POINTS = 24


@dataclass(frozen=True)
class Staircase:
    """What a count of channels amounts to on one axis of one kind of kernel.

    Attributes:
        tile: channels of one step; 1 where time rises with every channel.
        first: effective channels of the counts 1, 2, ... as swept.
        profile: of larger counts, effective channels as a share of the next multiple of the tile;
            by the count's remainder.
    """

    tile: int = 1
    first: tuple[float, ...] = ()
    profile: tuple[float, ...] = (1.0,)

    def effective(self, channels: int) -> float:
        """Channels, on the tile, that would take the same time; above 0."""
        if channels <= len(self.first):
            return self.first[channels - 1]
        return self.above(channels) * self.profile[channels % self.tile]

    def above(self, channels: int) -> int:
        """The next multiple of the tile, `channels` itself where it is one."""
        return -(-channels // self.tile) * self.tile


def find_staircase(sweep: Mapping[int, float]) -> Staircase | None:
    """The staircase behind `sweep`, positive times by channel count; None for too few points.

    The tile is the one whose steps, as seen in the first two thirds of the counts, go on in the
    last third.
    """
    counts = sorted(sweep)
    if len(counts) < _MIN_POINTS:
        return None
    split = counts[-1] * 2 // 3
    seen = {count: sweep[count] for count in counts if count <= split}
    later = {count: sweep[count] for count in counts if count > split}
    errors: dict[int, float] = {}
    for tile in range(1, split // 2 + 1):
        staircase = _steps(seen, tile)
        if staircase is not None:
            errors[tile] = _error(*staircase, later)
    enough = min(errors.values()) * _AS_GOOD + _AS_GOOD_BY
    tile = next(tile for tile, error in sorted(errors.items()) if error <= enough)
    steps = _steps(sweep, tile)
    assert steps is not None
    return steps[0]


@dataclass(frozen=True)
class _Line:
    """Time over effective channels: `start` + `slope` * channels."""

    start: float
    slope: float


def _steps(sweep: Mapping[int, float], tile: int) -> tuple[Staircase, _Line] | None:
    """The staircase with steps of `tile`; None where `sweep` does not have two whole ones."""
    counts = sorted(sweep)
    levels = {count: _level(sweep, count, tile) for count in counts}
    line = _line({count: levels[count] for count in counts if count % tile == 0})
    if line is None:
        return None
    effective = {
        count: max((levels[count] - line.start) / line.slope, _LEAST) for count in counts
    }
    # Of each remainder the largest count says most about those beyond the sweep.
    profile = {count % tile: effective[count] / (-(-count // tile) * tile) for count in counts}
    if len(profile) < tile:
        return None
    dense = next(n for n in range(1, counts[-1] + 2) if n not in sweep) - 1
    staircase = Staircase(
        tile,
        tuple(effective[n] for n in range(1, dense + 1)),
        tuple(profile[remainder] for remainder in range(tile)),
    )
    return staircase, line


def _level(sweep: Mapping[int, float], count: int, tile: int) -> float:
    """The time at `count` without noise: the median of its step, as far as it is on one."""
    first = (count - 1) // tile * tile + 1
    step = [sweep[n] for n in range(first, first + tile) if n in sweep]
    return statistics.median(t for t in step if abs(t / sweep[count] - 1) <= _SAME_STEP)


def _line(points: Mapping[int, float]) -> _Line | None:
    """The line of least squared relative error; None for fewer than two points, or if it falls."""
    if len(points) < 2:
        return None
    weights = [1 / time**2 for time in points.values()]
    total = math.fsum(weights)
    mean_x = math.fsum(w * x for w, x in zip(weights, points, strict=True)) / total
    mean_y = math.fsum(w * y for w, y in zip(weights, points.values(), strict=True)) / total
    moments = [(x - mean_x, y - mean_y) for x, y in points.items()]
    spread = math.fsum(w * x * x for w, (x, _) in zip(weights, moments, strict=True))
    rise = math.fsum(w * x * y for w, (x, y) in zip(weights, moments, strict=True))
    slope = rise / spread
    return _Line(mean_y - slope * mean_x, slope) if slope > 0 else None


def _error(staircase: Staircase, line: _Line, later: Mapping[int, float]) -> float:
    """Mean relative error with which a staircase predicts `later` times, the worst tenth aside."""
    errors = sorted(
        abs((line.start + line.slope * staircase.effective(count)) / time - 1)
        for count, time in later.items()
    )
    return statistics.fmean(errors[: math.ceil(len(errors) * 0.9)])
