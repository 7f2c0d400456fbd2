"""Accuracy of .tflite files against the Keras networks that they were made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapt.network.export import to_tflite
from adapt.network.load import Network
from adapt.training.data import Data
from adapt.training.evaluate import tflite_accuracy
from adapt.training.finetune import Trainer


def test_float32(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> None:
    content = digits_network.to_tflite(digits_network.model)
    keras_accuracy = digits_trainer.score(digits_network.weights, digits_data.test).accuracy
    assert keras_accuracy < 1
    # One example may stand on the border between two classes.
    assert tflite_accuracy(content, digits_data) == pytest.approx(
        keras_accuracy, abs=1 / len(digits_data.test)
    )


def test_int8(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> None:
    examples = digits_data.prepared(digits_data.train.inputs[:100])
    content = to_tflite(digits_network.model, [example[None] for example in examples])
    keras_accuracy = digits_trainer.score(digits_network.weights, digits_data.test).accuracy
    assert tflite_accuracy(content, digits_data) == pytest.approx(keras_accuracy, abs=0.02)
    # Inputs beyond what was calibrated are clipped, not wrapped around.
    bright = replace(digits_data.test, inputs=digits_data.test.inputs * np.float32(1.3))
    assert tflite_accuracy(content, replace(digits_data, test=bright)) > 0.8


def test_stored_bytes_are_scaled_first(digits_network: Network, digits_data: Data) -> None:
    content = digits_network.to_tflite(digits_network.model)
    stored = np.rint(digits_data.test.inputs * 255).astype(np.uint8)
    data = replace(
        digits_data, test=replace(digits_data.test, inputs=stored), scale=1 / 255, offset=0.0
    )
    assert tflite_accuracy(content, data) == pytest.approx(
        tflite_accuracy(content, digits_data), abs=0.01
    )
