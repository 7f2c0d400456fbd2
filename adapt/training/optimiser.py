"""How weights follow their gradients, as functions of tensors for one traced step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import tensorflow as tf

__all__ = ["Optimiser", "corrected", "updated"]

# Adam (Kingma and Ba, ICLR 2015) with the constants of its authors. Plain gradient descent did as
# well at the right learning rate, but that rate differs by a hundred between networks that take
# pixels from 0 to 255 and from 0 to 1; Adam's hardly does.
_DECAY_FIRST = 0.9
_DECAY_SECOND = 0.999
_EPSILON = 1e-7


class Optimiser(StrEnum):
    """Adam, or gradient descent with Nesterov's momentum of 0.9 (Sutskever et al., ICML 2013)."""

    ADAM = "adam"
    MOMENTUM = "momentum"


def corrected(optimiser: Optimiser, rate: float, step: int) -> float:
    """The factor for step `step`, from 1, at a learning `rate`; Adam's moments begin at 0."""
    if optimiser is Optimiser.MOMENTUM:
        return rate
    return rate * math.sqrt(1 - _DECAY_SECOND**step) / (1 - _DECAY_FIRST**step)


def updated(
    optimiser: Optimiser,
    weights: Sequence[Any],
    first: Sequence[Any],
    second: Sequence[Any],
    gradients: Sequence[Any],
    rate: Any,
) -> tuple[list[Any], list[Any], list[Any]]:
    """Weights and moments, `first` and `second`, after a step of `rate` against `gradients`."""
    if optimiser is Optimiser.MOMENTUM:
        first = [_DECAY_FIRST * m + g for m, g in zip(first, gradients, strict=True)]
        ahead = [_DECAY_FIRST * m + g for m, g in zip(first, gradients, strict=True)]
        return [w - rate * m for w, m in zip(weights, ahead, strict=True)], first, list(second)
    first = [
        _DECAY_FIRST * m + (1 - _DECAY_FIRST) * g for m, g in zip(first, gradients, strict=True)
    ]
    second = [
        _DECAY_SECOND * v + (1 - _DECAY_SECOND) * tf.square(g)
        for v, g in zip(second, gradients, strict=True)
    ]
    moved = [
        w - rate * m / (tf.sqrt(v) + _EPSILON)
        for w, m, v in zip(weights, first, second, strict=True)
    ]
    return moved, first, second
