"""Calibration examples."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.job.sitting import calibration
from adapt.training.data import Data, Split


def by_class(count: int) -> Data:
    """`count` examples in the order of their four classes, as image folders are read."""
    labels = np.repeat(np.arange(4, dtype=np.int32), count // 4)
    split = Split(labels.astype(np.uint8)[:, None], labels)
    return Data(split, split, split, ("a", "b", "c", "d"), 0.5, 1.0, "")


@pytest.mark.parametrize(("examples", "expected"), [(4000, 200), (40, 40)])
def test_calibration_meets_every_class(examples: int, expected: int) -> None:
    samples = calibration(by_class(examples))
    assert len(samples) == expected
    assert all(sample.shape == (1, 1) and sample.dtype == np.float32 for sample in samples)
    values, counts = np.unique(np.concatenate(samples), return_counts=True)
    assert list(values) == [1.0, 1.5, 2.0, 2.5]
    assert counts.tolist() == [expected // 4] * 4
