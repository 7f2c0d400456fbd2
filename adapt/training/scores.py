"""How good outputs are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Score", "scored"]

# Of 1, what a probability is at the least where its logarithm is taken, as Keras has it.
_LEAST = 1e-7


@dataclass(frozen=True)
class Score:
    """Quality on a split: share of right answers, and mean cross-entropy in nats."""

    accuracy: float
    loss: float


def scored(batches: Iterable[np.ndarray], labels: np.ndarray, least: float = _LEAST) -> Score:
    """The score of probabilities, [n, classes] a batch, of examples with `labels`; always finite.

    Probabilities below `least` count as that.
    """
    right, loss, first = 0, 0.0, 0
    for probabilities in batches:
        asked = labels[first : first + len(probabilities)]
        first += len(asked)
        picked = probabilities[np.arange(len(asked)), asked]
        # A network that diverged gives NaN: wrong, and as sure of it as can be.
        picked = np.nan_to_num(picked, nan=0.0)
        right += int(((probabilities.argmax(axis=1) == asked) & (picked > 0)).sum())
        loss -= float(np.log(np.maximum(picked, least)).sum())
    return Score(right / len(labels), loss / len(labels))
