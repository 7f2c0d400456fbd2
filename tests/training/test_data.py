"""The three splits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.training import data as data_module
from adapt.training.data import Data, DataOptions, load_data

COUNT = 200
# Each example is its own number, so that it is known wherever it goes.
INPUTS = np.arange(COUNT, dtype=np.float32)[:, None]
LABELS = np.arange(COUNT) % 4


@pytest.fixture
def source(tmp_path: Path) -> str:
    np.savez(tmp_path / "data.npz", x_train=INPUTS, y_train=LABELS)
    return str(tmp_path / "data.npz")


def load(source: str, **options: Any) -> Data:
    return load_data(source, (1,), 4, replace(DataOptions(), **options))


def numbers(data: Data) -> list[set[int]]:
    return [{int(x[0]) for x in s.inputs} for s in (data.train, data.holdout, data.test)]


def test_splits_share_nothing_and_lose_nothing(source: str) -> None:
    data = load(source, holdout=0.2, test=0.3)
    train, holdout, test = numbers(data)
    assert train | holdout | test == set(range(COUNT))
    assert len(train) + len(holdout) + len(test) == COUNT
    assert (len(train), len(holdout), len(test)) == (112, 28, 60)
    for split in (data.train, data.holdout, data.test):
        assert (split.labels == split.inputs[:, 0].astype(int) % 4).all()


def test_the_seed_decides(source: str) -> None:
    assert load(source).digest == load(source).digest
    assert numbers(load(source)) == numbers(load(source))
    assert load(source, seed=1).digest != load(source).digest


def test_the_test_split_does_not_depend_on_the_holdout(source: str) -> None:
    assert numbers(load(source, holdout=0.5))[2] == numbers(load(source))[2]


def test_the_holdout_is_bounded(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "MAX_HOLDOUT", 7)
    data = load(source, holdout=0.5)
    assert (len(data.holdout), len(data.test)) == (7, 7)


@pytest.mark.parametrize("change", ["input", "label", "order"])
def test_the_digest_tells_data_apart(source: str, change: str) -> None:
    before = load(source).digest
    inputs, labels = INPUTS.copy(), LABELS.copy()
    if change == "input":
        inputs[17] += 0.001
    elif change == "label":
        labels[17] = (labels[17] + 1) % 4
    else:
        inputs, labels = inputs[::-1], labels[::-1]
    np.savez(source, x_train=inputs, y_train=labels)
    assert load(source).digest != before


def test_networks_with_one_output(source: str) -> None:
    with pytest.raises(InputError, match="single output") as caught:
        load_data(source, (1,), 1, DataOptions())
    assert "Dense(2" in caught.value.todo


def test_unused_outputs_are_allowed(source: str) -> None:
    assert load_data(source, (1,), 10, DataOptions()).classes == ("0", "1", "2", "3")
