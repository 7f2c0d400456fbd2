"""How predictions and measurements compare."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

__all__ = ["Error", "ranks_agree", "summary"]


@dataclass(frozen=True)
class Error:
    """A network's latency as measured and as predicted, in one unit."""

    name: str
    measured: float
    predicted: float

    @property
    def relative(self) -> float:
        """Prediction less measurement, as a share of the measurement."""
        return self.predicted / self.measured - 1


def summary(errors: Sequence[Error]) -> str:
    """Distribution of absolute relative errors in words."""
    sizes = sorted(abs(error.relative) for error in errors)
    low, middle, high = statistics.quantiles(sizes, n=4, method="inclusive")
    p95 = statistics.quantiles(sizes, n=20, method="inclusive")[-1]
    within = sum(size <= 0.1 for size in sizes) / len(sizes)
    return (
        f"{len(sizes)} networks: median {middle:.2%} (quartiles {low:.2%}, {high:.2%}),"
        f" 95th percentile {p95:.2%}, largest {sizes[-1]:.2%}, within 10 %: {within:.1%}"
    )


def ranks_agree(errors: Sequence[Error]) -> float:
    """Spearman's rank correlation of measured and predicted."""
    return float(spearmanr([e.measured for e in errors], [e.predicted for e in errors]).statistic)
