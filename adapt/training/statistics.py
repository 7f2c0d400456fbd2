"""Moving statistics of batch normalisations, found anew on a few hundred examples.

A network that has lost filters has other activations than its statistics say, and is judged far
too badly by them. Found anew, they cost a few forward passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from adapt.network.elastic import BatchNorm, ElasticNetwork
from adapt.network.shrink import Weights
from adapt.training.batches import at_once, split_up
from adapt.training.data import Data

__all__ = ["Statistics"]

# Examples that settle mean and variance: with 2,000, losses of proposals hardly differed.
_EXAMPLES = 256


_Part = tuple[float, list[tuple[BatchNorm, np.ndarray, np.ndarray]]]


class Statistics:
    """Finds statistics of shrunk versions of `network`; `traces` counts as a trainer's."""

    def __init__(self, network: ElasticNetwork, data: Data) -> None:
        self._network = network
        self._norms = network.batch_norms
        self._data = data
        self._split = data.train.evenly(_EXAMPLES)
        self._parts = split_up(len(self._split), at_once(network, _EXAMPLES))
        self.traces: Counter[str] = Counter()
        self._run = self._trace()

    def renewed(self, weights: Weights) -> Weights:
        """`weights` with moving statistics as the examples have them, and all else as it was."""
        net = self._network
        if not self._norms:
            return weights
        values = [tf.constant(weights[p]) for p in net.trainable]
        state = {p: weights[p] for p in net.state}
        for norm in self._norms:
            # From zero, one step leaves the batch's own statistics times what it lets in; of a
            # layer with several calls, what all let in of what they would settle at.
            state[norm.mean] = np.zeros_like(state[norm.mean])
            state[norm.variance] = np.zeros_like(state[norm.variance])
        start = [tf.constant(v) for v in state.values()]
        parts = [self._part(values, start, part) for part in self._parts]
        return {**weights, **_pooled(parts)}

    def _part(self, values: list[Any], start: list[Any], part: slice) -> _Part:
        """Share of the examples in `part`, and each normalisation with their mean and variance."""
        inputs = self._split.inputs[part]
        x = tf.constant(self._data.prepared(inputs))
        found = iter([value.numpy() for value in self._run(values, start, x)])
        statistics = [
            (norm, *(next(found) / np.float32(1.0 - norm.momentum**norm.calls) for _ in range(2)))
            for norm in self._norms
        ]
        return len(inputs) / len(self._split), statistics

    def _trace(self) -> Any:
        net = self._network
        wanted = [net.state.index(p) for norm in self._norms for p in (norm.mean, norm.variance)]

        def run(trainable: list[Any], state: list[Any], x: Any) -> list[Any]:
            self.traces["statistics"] += 1
            _, new = net.apply(trainable, state, x, training=True)
            return [new[index] for index in wanted]

        signature = [[net.signature(p) for p in places] for places in (net.trainable, net.state)]
        x = tf.TensorSpec(net.input_shape, tf.float32)
        return tf.function(run, input_signature=[*signature, x])


def _pooled(parts: Sequence[_Part]) -> Weights:
    """The statistics of all parts together: of parts, their variances and those of their means."""
    if len(parts) == 1:
        ((_, found),) = parts
        return {place: v for n, m, s in found for place, v in ((n.mean, m), (n.variance, s))}
    pooled = {}
    for number, (norm, *_) in enumerate(parts[0][1]):
        shares = [share for share, _ in parts]
        means = [found[number][1].astype(np.float64) for _, found in parts]
        squares = [
            found[number][2] + np.square(m) for (_, found), m in zip(parts, means, strict=True)
        ]
        mean = np.average(means, axis=0, weights=shares)
        square = np.average(squares, axis=0, weights=shares)
        pooled[norm.mean] = mean.astype(np.float32)
        pooled[norm.variance] = np.maximum(square - np.square(mean), 0.0).astype(np.float32)
    return pooled
