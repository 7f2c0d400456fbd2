"""What fine-tuning makes small: the labels' cross-entropy, and the distance to a teacher."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["cross_entropy", "softened", "teaching_loss"]


def cross_entropy(labels: Any, outputs: Any, from_logits: bool) -> Any:
    """Cross-entropy [N], nats, of `outputs` [N, classes] for int32 `labels` [N]."""
    return keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=from_logits)


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`probabilities` [N, classes] as a softmax of `temperature` would have given them."""
    logarithms = np.log(np.maximum(probabilities, keras.config.epsilon())) / temperature
    powers = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    soft: np.ndarray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return soft


def teaching_loss(taught: Any, outputs: Any, from_logits: bool, temperature: float) -> Any:
    """Mean Kullback-Leibler divergence of softened `outputs` from `taught`, both [N, classes].

    Times the square of `temperature`, which keeps its gradient as large as that of the labels
    (Hinton et al., 2015, section 2).
    """
    # A softmax does not mind a constant, so logarithms of probabilities do as logits.
    logits = outputs if from_logits else tf.math.log(outputs + keras.config.epsilon())
    learnt = tf.nn.log_softmax(logits / temperature)
    wanted = tf.math.log(taught + keras.config.epsilon())
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(taught * (wanted - learnt), axis=-1))
