"""Scores of .tflite files against the Keras networks that they were made of."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from adapt.network.export import to_tflite
from adapt.network.load import Network
from adapt.training.data import Data, Split
from adapt.training.evaluate import tflite_score
from adapt.training.finetune import Trainer


def test_float32(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> None:
    content = digits_network.to_tflite(digits_network.model)
    keras_score = digits_trainer.score(digits_network.weights, digits_data.test)
    assert keras_score.accuracy < 1
    score = tflite_score(content, digits_data, digits_data.test, gives_logits=False)
    # One example may stand on the border between two classes.
    assert score.accuracy == pytest.approx(keras_score.accuracy, abs=1 / len(digits_data.test))
    assert score.loss == pytest.approx(keras_score.loss, rel=1e-3)


def test_int8(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> None:
    content = to_tflite(digits_network.model, examples(digits_data))
    keras_score = digits_trainer.score(digits_network.weights, digits_data.test)
    score = tflite_score(content, digits_data, digits_data.test, gives_logits=False)
    assert score.accuracy == pytest.approx(keras_score.accuracy, abs=0.02)
    assert score.loss == pytest.approx(keras_score.loss, abs=0.05)
    # Inputs beyond what was calibrated are clipped, not wrapped around.
    bright = replace(digits_data.test, inputs=digits_data.test.inputs * np.float32(1.3))
    assert tflite_score(content, digits_data, bright, gives_logits=False).accuracy > 0.8


def test_what_int8_shows_as_nothing_is_half_a_step(
    digits_network: Network, digits_data: Data
) -> None:
    content = to_tflite(digits_network.model, examples(digits_data))
    wrong = Split(digits_data.test.inputs, (digits_data.test.labels + 1) % 10)
    score = tflite_score(content, digits_data, wrong, gives_logits=False)
    # Sure of something else: none of these losses is more than that of half of 1 / 256.
    assert 0.8 * np.log(512) < score.loss <= np.log(512)


def test_logits(digits_network: Network, digits_data: Data) -> None:
    """Without its softmax the network is as good."""
    probable = digits_network.model
    last = probable.layers[-1]
    scores = keras.layers.Dense.from_config({**last.get_config(), "activation": None})
    model = keras.Model(probable.inputs, scores(last.input))
    scores.set_weights(last.get_weights())
    for samples in (None, examples(digits_data)):
        expected = tflite_score(
            to_tflite(probable, samples), digits_data, digits_data.test, gives_logits=False
        )
        found = tflite_score(
            to_tflite(model, samples), digits_data, digits_data.test, gives_logits=True
        )
        assert found.accuracy == pytest.approx(expected.accuracy, abs=0.01)
        assert found.loss == pytest.approx(expected.loss, abs=0.03)


def test_stored_bytes_are_scaled_first(digits_network: Network, digits_data: Data) -> None:
    content = digits_network.to_tflite(digits_network.model)
    stored = np.rint(digits_data.test.inputs * 255).astype(np.uint8)
    data = replace(digits_data, scale=1 / 255, offset=0.0)
    split = replace(digits_data.test, inputs=stored)
    expected = tflite_score(content, digits_data, digits_data.test, gives_logits=False)
    assert tflite_score(content, data, split, gives_logits=False).accuracy == pytest.approx(
        expected.accuracy, abs=0.01
    )


def examples(data: Data) -> list[np.ndarray]:
    """What calibrates an int8 network."""
    return [example[None] for example in data.prepared(data.train.inputs[:100])]
