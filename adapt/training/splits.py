"""Examples in memory, whatever they were read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from adapt.errors import InputError

__all__ = ["MAX_BYTES", "Examples", "Split", "format_shape", "refuse_too_large"]

# Examples are kept in memory, as bytes where they came as bytes. Beyond this a machine of ordinary
# size would start to swap.
MAX_BYTES: Final = 8 << 30


@dataclass(frozen=True)
class Split:
    """Examples: `inputs` [N, ...] as stored (bytes or float32), `labels` int32 [N]."""

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """The examples at `index`."""
        return Split(self.inputs[index], self.labels[index])

    def evenly(self, count: int) -> Split:
        """At most `count` examples from all over the split: folders come class by class."""
        count = min(count, len(self))
        return self.take(np.linspace(0, len(self) - 1, count).round().astype(int))


class Examples(NamedTuple):
    """What a source holds: `test` is None where it brings none; `classes` are names by label."""

    train: Split
    test: Split | None
    classes: tuple[str, ...]


def refuse_too_large(source: str, size: int) -> None:
    """InputError where `size` bytes of examples from `source` are more than memory should take."""
    if size > MAX_BYTES:
        raise InputError(
            f"{source} takes {size / 2**30:.1f} GiB in memory, more than"
            f" {MAX_BYTES / 2**30:.3g} GiB",
            "Give a part of it: some ten thousand examples are enough for fine-tuning.",
        )


def format_shape(shape: Iterable[int]) -> str:
    """A shape for people, e.g. 32x32x3."""
    return "x".join(map(str, shape)) or "single numbers"
