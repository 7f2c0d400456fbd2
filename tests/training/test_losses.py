"""Losses, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from adapt.training.losses import cross_entropy, softened, teaching_loss


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (6, 5)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(logits)
    probabilities: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@pytest.mark.parametrize("temperature", [1.0, 3.0, 20.0])
def test_softened_probabilities_are_those_of_softer_logits(
    logits: np.ndarray, temperature: float
) -> None:
    expected = softmax(logits / temperature)
    np.testing.assert_allclose(softened(softmax(logits), temperature), expected, rtol=1e-4)


def test_probabilities_of_zero_are_softened_too() -> None:
    soft = softened(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(soft).all()
    assert soft.sum() == pytest.approx(1.0)
    assert 0 < soft[0, 1] < 0.001


def test_nothing_is_left_to_learn_of_oneself(logits: np.ndarray) -> None:
    taught = softmax(logits / 3)
    assert float(teaching_loss(taught, logits, True, 3.0)) == pytest.approx(0.0, abs=1e-5)
    assert float(teaching_loss(taught, -logits, True, 3.0)) > 0.5


def test_logits_and_probabilities_teach_the_same(logits: np.ndarray) -> None:
    taught = softmax(logits[::-1] / 3)
    of_logits = float(teaching_loss(taught, logits, True, 3.0))
    assert float(teaching_loss(taught, softmax(logits), False, 3.0)) == pytest.approx(
        of_logits, rel=1e-4
    )


def test_the_gradient_keeps_its_size_at_any_temperature(logits: np.ndarray) -> None:
    """To first order it is (softmax difference) / classes, whatever the temperature."""

    def gradient(temperature: float) -> np.ndarray:
        with tf.GradientTape() as tape:
            x = tf.constant(logits)
            tape.watch(x)
            taught = softmax(logits[::-1] / temperature)
            loss = teaching_loss(taught, x, True, temperature)
        found: np.ndarray = tape.gradient(loss, x).numpy()
        return found

    hot, hotter = gradient(50.0), gradient(200.0)
    np.testing.assert_allclose(hot, hotter, rtol=0.2, atol=1e-3)
    centred = logits - logits.mean(axis=1, keepdims=True)
    expected = (centred - centred[::-1]) / logits.shape[1] / len(logits)
    np.testing.assert_allclose(hotter, expected, rtol=0.1, atol=1e-3)


def test_cross_entropy_of_labels(logits: np.ndarray) -> None:
    labels = np.array([0, 1, 2, 3, 4, 0])
    expected = -np.log(softmax(logits)[np.arange(6), labels])
    np.testing.assert_allclose(cross_entropy(labels, logits, True), expected, rtol=1e-5)
    np.testing.assert_allclose(cross_entropy(labels, softmax(logits), False), expected, rtol=1e-4)
