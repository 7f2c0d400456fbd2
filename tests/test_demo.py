"""The bundled network and its digits."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.demo import MODEL, digits, digits_arrays
from adapt.network.load import Network
from adapt.training.data import Data
from adapt.training.finetune import Trainer


def test_the_digits() -> None:
    x_train, y_train, x_test, y_test = digits_arrays()
    assert x_train.shape == (1347, 8, 8, 1)
    assert x_test.shape == (450, 8, 8, 1)
    for inputs, labels in ((x_train, y_train), (x_test, y_test)):
        assert inputs.dtype == np.float32
        assert (inputs.min(), inputs.max()) == (0.0, 1.0)
        assert len(labels) == len(inputs)
        # About as many of each.
        assert np.bincount(labels) / len(labels) == pytest.approx(np.full(10, 0.1), abs=0.02)


def test_the_same_digits_as_data_sets() -> None:
    arrays = digits_arrays()
    for number, dataset in enumerate(digits()):
        examples = list(dataset.as_numpy_iterator())
        assert (np.stack([x for x, _ in examples]) == arrays[2 * number]).all()
        assert [y for _, y in examples] == arrays[2 * number + 1].tolist()


def test_the_test_digits_are_kept_apart(digits_data: Data) -> None:
    assert (digits_data.test.inputs == digits_arrays()[2]).all()
    assert len(digits_data.train) + len(digits_data.holdout) == 1347


def test_the_network_knows_them(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    assert digits_trainer.score(digits_network.weights, digits_data.test).accuracy > 0.94


def test_the_network_has_what_the_groups_must_follow(digits_network: Network) -> None:
    kinds = {type(layer).__name__ for layer in digits_network.model.layers}
    assert {"Add", "DepthwiseConv2D", "BatchNormalization", "Dense"} <= kinds
    assert len(digits_network.groups.groups) >= 5
    assert not digits_network.groups.kept_whole
    assert MODEL.stat().st_size < 1_000_000
