"""Importance by the gradients of the loss on a few hundred examples."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from adapt.network.elastic import ElasticNetwork, Place
from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights
from adapt.training.batches import kept_at_once
from adapt.training.data import Data, Split
from adapt.training.losses import cross_entropy

__all__ = ["Gradients"]

# Examples and the batches in which their gradients are taken: importances settle with few hundred.
_EXAMPLES = 512
_BATCH = 32


class Gradients:
    """Takes gradients of shrunk versions of `network`, with a function that is traced once."""

    def __init__(self, network: ElasticNetwork, groups: ChannelGroups, data: Data) -> None:
        self._network, self._groups, self._data = network, groups, data
        self._batch = kept_at_once(network, _BATCH)
        self.traces: Counter[str] = Counter()
        self._gradients: Any = None

    @cached_property
    def _split(self) -> Split:
        """Examples from all over: folders come class by class, batches must not."""
        split = self._data.train.evenly(_EXAMPLES)
        return split.take(np.random.default_rng(0).permutation(len(split)))

    def taylor(self, weights: Weights, keep: Keep) -> np.ndarray:
        """How much the loss changes without each filter, to first order; form as `magnitudes`.

        The square of scale times gradient, plus shift times gradient, at a batch normalisation
        behind the filter (Molchanov et al., CVPR 2019, 3.1), averaged over batches; a filter
        without one has it at the weights that make it. A filter of several layers has the sum.
        """
        gates = self._gates()
        found = np.zeros(len(self._groups.frozen))
        batches = 0
        for first in range(0, len(self._split), self._batch):
            products = self._products(weights, first)
            found += self._squared(products, gates, keep)
            batches += 1
        return found / batches

    def _products(self, weights: Weights, first: int) -> dict[Place, np.ndarray]:
        """Value times gradient of every trainable variable, for the batch from `first` on."""
        net = self._network
        if self._gradients is None:
            self._gradients = self._trace_gradients()
        part = slice(first, first + self._batch)
        x = tf.constant(self._data.prepared(self._split.inputs[part]))
        values = [tf.constant(weights[p]) for p in net.trainable]
        state = [tf.constant(weights[p]) for p in net.state]
        gradients = self._gradients(values, state, x, tf.constant(self._split.labels[part]))
        return {
            p: weights[p].astype(np.float64) * g.numpy()
            for p, g in zip(net.trainable, gradients, strict=True)
        }

    def _gates(self) -> list[tuple[tuple[Place, ...], int, np.ndarray]]:
        """Variables, axis and filters where a filter is as good as closed when they are zero."""
        trainable = set(self._network.trainable)
        by_place = {(use.variable, use.axis): use for use in self._groups.uses}
        gates: list[tuple[tuple[Place, ...], int, np.ndarray]] = []
        gated = np.zeros(len(self._groups.frozen), dtype=bool)
        for norm in self._network.batch_norms:
            places = tuple(p for p in (norm.scale, norm.shift) if p in trainable)
            use = by_place.get((norm.mean, 0))
            if places and use is not None:
                gates.append((places, 0, use.filters))
                gated[use.filters] = True
        for use in self._groups.uses:
            if use.produces and use.variable in trainable and not gated[use.filters].any():
                gates.append(((use.variable,), use.axis, use.filters))
        return gates

    def _squared(
        self,
        products: dict[Place, np.ndarray],
        gates: list[tuple[tuple[Place, ...], int, np.ndarray]],
        keep: Keep,
    ) -> np.ndarray:
        kept = self._groups.kept(keep)
        squares = np.zeros(len(kept))
        for places, axis, filters in gates:
            present = filters[kept[filters]]
            change = np.zeros(len(present))
            for place in places:
                value = products[place]
                others = tuple(a for a in range(value.ndim) if a != axis)
                change += value.sum(axis=others)
            # Slices of one filter close together.
            whole = np.zeros(len(kept))
            np.add.at(whole, present, change)
            squares += np.square(whole)
        return squares

    def _trace_gradients(self) -> Any:
        net = self._network

        def gradients(weights: list[Any], state: list[Any], x: Any, y: Any) -> list[Any]:
            self.traces["gradients"] += 1
            with tf.GradientTape() as tape:
                tape.watch(weights)
                outputs, _ = net.apply(weights, state, x, training=False)
                loss = tf.reduce_mean(cross_entropy(y, outputs, net.gives_logits))
            found: list[Any] = tape.gradient(loss, weights, unconnected_gradients="zero")
            return found

        signature = [[net.signature(p) for p in places] for places in (net.trainable, net.state)]
        x = tf.TensorSpec(net.input_shape, tf.float32)
        return tf.function(
            gradients, input_signature=[*signature, x, tf.TensorSpec([None], tf.int32)]
        )
