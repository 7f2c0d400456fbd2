"""Calibration examples, and prices that lack something."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adapt.cost import Missing
from adapt.errors import DeviceError
from adapt.job.sitting import Sitting, calibration
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


def answer(lacks: list[Missing]) -> tuple[str, list[Missing]]:
    """What comes of a question that lacks these, one after the other, and what was measured."""
    measured: list[Missing] = []
    sitting: Any = SimpleNamespace(
        _measure=measured.append, devices=SimpleNamespace(lacking=lambda lack: {"here": lack})
    )
    left = list(lacks)

    def question() -> str:
        if left:
            raise left.pop(0)
        return "known"

    return Sitting.priced(sitting, question), measured


def test_what_lacks_is_measured_until_nothing_does() -> None:
    lacks = [Missing(facts=[f"fact {number}"]) for number in range(30)]
    assert answer(lacks) == ("known", lacks)


def test_what_lacks_whatever_is_measured_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"here cannot tell a price, .* the platform's l2_bytes"):
        answer([Missing(facts=["l2_bytes"]) for _ in range(30)])
