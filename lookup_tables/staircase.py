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

__all__ = ["SWEEP", "Staircase", "find_staircase"]

# Channel counts to measure for a staircase: the first tiles often differ from those that follow,
# and whether a tile goes on as it was shows only after a few of the largest.
SWEEP = tuple(range(1, 129))

# A kernel works on one to three vector registers at a time, and these hold powers of two.
_TILES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48)

# Fewer points than this tell no tile from another.
_MIN_POINTS = 24

# Counts whose times for each effective channel differ by less belong together.
_SAME_KIND = 0.03

# Times on one step differ by less, from one placement of the data in memory to another.
_SAME_STEP = 0.06

# The first tiles of a sweep say little about those that follow: a line is drawn through the rest.
_LINE_FROM = 1 / 3

# Of tiles that predict the later counts almost equally well the smallest is meant: a multiple of
# the tile predicts as well, and fits noise a little better.
_AS_GOOD = 1.2
_AS_GOOD_BY = 0.002

# No count amounts to less than this, however a line through the steps runs.
_LEAST = 0.125


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

    def kind(self, channels: int) -> float:
        """The same for counts that the device treats alike, such as all that are off the tile."""
        return self.profile[channels % self.tile]


# Where every channel counts for itself.
PLAIN = Staircase()


@dataclass(frozen=True)
class _Line:
    """Time over effective channels: `start` + `slope` * channels."""

    start: float
    slope: float


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
    for tile in _TILES:
        staircase = _staircase(seen, tile)
        if staircase is not None:
            errors[tile] = _error(staircase, later)
    if not errors or math.isinf(min(errors.values())):
        return None
    enough = min(errors.values()) * _AS_GOOD + _AS_GOOD_BY
    tile = next(tile for tile, error in sorted(errors.items()) if error <= enough)
    return PLAIN if tile == 1 else _staircase(sweep, tile)


def _staircase(sweep: Mapping[int, float], tile: int) -> Staircase | None:
    """The staircase with steps of `tile`; None where `sweep` does not have enough whole ones."""
    counts = sorted(sweep)
    from_count = counts[-1] * _LINE_FROM
    line = _line([(c, sweep[c]) for c in counts if c % tile == 0 and c >= from_count])
    if line is None:
        return None
    effective = {count: max((sweep[count] - line.start) / line.slope, _LEAST) for count in counts}
    # Of each remainder the largest count says most about those beyond the sweep.
    shares = {count % tile: effective[count] / (-(-count // tile) * tile) for count in counts}
    if len(shares) < tile:
        return None
    profile = _pooled([shares[remainder] for remainder in range(tile)])
    dense = next(n for n in range(1, counts[-1] + 2) if n not in sweep)
    first = tuple(_level(effective, count, profile) for count in range(1, dense))
    return Staircase(tile, first, profile)


def _pooled(shares: Sequence[float]) -> tuple[float, ...]:
    """`shares`, each replaced by the median of its kind: kinds are apart by gaps."""
    order = sorted(shares)
    kinds = [[order[0]]]
    for share in order[1:]:
        if share > kinds[-1][-1] * (1 + _SAME_KIND):
            kinds.append([])
        kinds[-1].append(share)
    medians = {share: statistics.median(kind) for kind in kinds for share in kind}
    return tuple(medians[share] for share in shares)


def _level(effective: Mapping[int, float], count: int, profile: Sequence[float]) -> float:
    """Effective channels at `count` without noise: the median of what is like it on its step."""
    tile = len(profile)
    start = (count - 1) // tile * tile
    return statistics.median(
        effective[n]
        for n in range(start + 1, start + tile + 1)
        if n in effective
        and profile[n % tile] == profile[count % tile]
        and abs(effective[n] / effective[count] - 1) <= _SAME_STEP
    )


def _line(points: Sequence[tuple[float, float]]) -> _Line | None:
    """The line of least squared relative error; None where there is none, or it does not rise."""
    if not points:
        return None
    weights = [1 / time**2 for _, time in points]
    total = math.fsum(weights)
    mean_x = math.fsum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = math.fsum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    moments = [(w, x - mean_x, y - mean_y) for w, (x, y) in zip(weights, points, strict=True)]
    spread = math.fsum(w * x * x for w, x, _ in moments)
    rise = math.fsum(w * x * y for w, x, y in moments)
    if spread <= 0 or rise <= 0:
        return None
    return _Line(mean_y - rise / spread * mean_x, rise / spread)


def _error(staircase: Staircase, later: Mapping[int, float]) -> float:
    """Mean relative error of `later` times from a line over effective channels.

    A line of their own, since time may grow faster or slower from some count on, and without the
    tenth that is furthest off.
    """
    points = [(staircase.effective(count), time) for count, time in later.items()]
    line = _line(points)
    if line is None:
        return math.inf
    errors = sorted(abs((line.start + line.slope * x) / time - 1) for x, time in points)
    return statistics.fmean(errors[: math.ceil(len(errors) * 0.9)])
