"""Moving statistics of batch normalisations, found anew on a few hundred examples.

A network that has lost filters has other activations than its statistics say, and is judged far
too badly by them. Found anew, they cost a few forward passes, and the loss then tells as much of
what fine-tuning would make of the network as 30 steps of it (docs/search.md).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import tensorflow as tf

from adapt.network.elastic import ElasticNetwork
from adapt.network.shrink import Weights
from adapt.training.data import Data

__all__ = ["Statistics"]

# Examples that settle mean and variance: with 2,000, losses of proposals hardly differed.
_EXAMPLES = 256


class Statistics:
    """Finds statistics of shrunk versions of `network`; `traces` counts as a trainer's."""

    def __init__(self, network: ElasticNetwork, data: Data) -> None:
        self._network = network
        self._norms = network.batch_norms
        self._x = tf.constant(data.prepared(data.train.evenly(_EXAMPLES).inputs))
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
            # From zero, one step leaves the batch's own statistics times what it lets in.
            state[norm.mean] = np.zeros_like(state[norm.mean])
            state[norm.variance] = np.zeros_like(state[norm.variance])
        found = self._run(values, [tf.constant(v) for v in state.values()])
        renewed = dict(weights)
        places = iter(found)
        for norm in self._norms:
            for place in (norm.mean, norm.variance):
                renewed[place] = next(places).numpy() / np.float32(1.0 - norm.momentum)
        return renewed

    def _trace(self) -> Any:
        net = self._network
        wanted = [net.state.index(p) for norm in self._norms for p in (norm.mean, norm.variance)]

        def run(trainable: list[Any], state: list[Any]) -> list[Any]:
            self.traces["statistics"] += 1
            _, new = net.apply(trainable, state, self._x, training=True)
            return [new[index] for index in wanted]

        signature = [[net.signature(p) for p in places] for places in (net.trainable, net.state)]
        return tf.function(run, input_signature=signature)
