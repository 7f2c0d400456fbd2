"""Images changed a little each time they are learnt from."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from adapt.errors import InputError
from adapt.training.rows import Rows

__all__ = ["Augmentation", "augmented", "check_images"]

# Of each side, what a shift moves an image by at most: 4 of 32 pixels (He et al., CVPR 2016).
_FARTHEST = 1 / 8

_RANK = 4


class Augmentation(StrEnum):
    """How images are changed: not at all, moved, mirrored, or both."""

    NONE = "none"
    SHIFT = "shift"
    FLIP = "flip"
    BOTH = "shift+flip"


def check_images(inputs: Rows, how: Augmentation) -> None:
    """Raise InputError where `how` asks to change examples that are no images."""
    if how is not Augmentation.NONE and len(inputs.shape) != _RANK:
        rank = len(inputs.shape) - 1
        raise InputError(
            f"--augmentation {how} is for images; the examples have {rank} dimensions",
            "Leave --augmentation out.",
        )


def augmented(inputs: np.ndarray, how: Augmentation, random: np.random.Generator) -> np.ndarray:
    """`inputs` [N, height, width, channels] changed by chance; shape and type as they were.

    What a shift lays open is 0, black.
    """
    if how in (Augmentation.FLIP, Augmentation.BOTH):
        mirrored = random.random(len(inputs)) < 0.5
        inputs = np.where(mirrored[:, None, None, None], inputs[:, :, ::-1], inputs)
    if how in (Augmentation.SHIFT, Augmentation.BOTH):
        inputs = _shifted(inputs, random)
    return inputs


def _shifted(inputs: np.ndarray, random: np.random.Generator) -> np.ndarray:
    count, height, width, _ = inputs.shape
    down, right = round(height * _FARTHEST), round(width * _FARTHEST)
    padded = np.pad(inputs, ((0, 0), (down, down), (right, right), (0, 0)))
    tops = random.integers(0, 2 * down + 1, count)
    lefts = random.integers(0, 2 * right + 1, count)
    rows = tops[:, None, None] + np.arange(height)[:, None]
    columns = lefts[:, None, None] + np.arange(width)
    shifted: np.ndarray = padded[np.arange(count)[:, None, None], rows, columns]
    return shifted
