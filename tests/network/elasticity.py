"""Whether a network runs as a function of its weights as Keras runs one of those widths."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from tests.network.proof import random_inputs

__all__ = ["apply", "assert_elastic"]


def apply(
    elastic: ElasticNetwork, weights: shrink.Weights, x: np.ndarray, *, training: bool
) -> tuple[list[np.ndarray], shrink.Weights]:
    """Outputs and new state, computed by a graph whose channels are open."""

    def run(trainable: list[Any], state: list[Any], x: Any) -> Any:
        return elastic.apply(trainable, state, x, training=training)

    signature = [
        [elastic.signature(p) for p in elastic.trainable],
        [elastic.signature(p) for p in elastic.state],
        tf.TensorSpec(elastic.input_shape, tf.float32),
    ]
    values = [
        [tf.constant(weights[p]) for p in places] for places in (elastic.trainable, elastic.state)
    ]
    y, state = tf.function(run, input_signature=signature)(*values, x)
    return [value.numpy() for value in keras.tree.flatten(y)], {
        p: v.numpy() for p, v in zip(elastic.state, state, strict=True)
    }


def assert_elastic(model: keras.Model, keep: dict[str, list[int]], *, training: bool) -> None:
    groups = find_groups(model)
    weights = shrink.slice_weights(shrink.read_weights(model), groups, keep)
    smaller = shrink.build(model, groups, {name: len(kept) for name, kept in keep.items()})
    shrink.write_weights(smaller, weights)
    x = random_inputs(model, batch=4, seed=3)
    y, state = apply(ElasticNetwork(model, groups), weights, x, training=training)
    expected = [value.numpy() for value in keras.tree.flatten(smaller(x, training=training))]
    for got, wanted in zip(y, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    after = shrink.read_weights(smaller)
    for place, value in state.items():
        np.testing.assert_allclose(value, after[place], rtol=1e-4, atol=1e-5)
    moved = any(not np.array_equal(value, weights[place]) for place, value in state.items())
    assert moved == (training and bool(state))
