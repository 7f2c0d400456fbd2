"""Examples, whatever they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adapt.training.rows import FileRows, Rows

__all__ = ["Examples", "Split"]


@dataclass(frozen=True)
class Split:
    """Examples: `inputs` [N, ...] as stored (bytes or float32), `labels` int32 [N]."""

    inputs: Rows
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """The examples at `index`; those of a file stay in it."""
        inputs = self.inputs
        chosen = inputs.chosen(index) if isinstance(inputs, FileRows) else inputs[index]
        return Split(chosen, self.labels[index])

    def evenly(self, count: int) -> Split:
        """At most `count` examples from all over the split: folders come class by class."""
        count = min(count, len(self))
        return self.take(np.linspace(0, len(self) - 1, count).round().astype(int))


class Examples(NamedTuple):
    """What a source holds: `test` is None where it brings none; `classes` are names by label."""

    train: Split
    test: Split | None
    classes: tuple[str, ...]
