"""What the layers of a network read: means and (co)variances of their input channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from adapt.network.elastic import ElasticNetwork, Place
from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Weights
from adapt.training.batches import kept_at_once
from adapt.training.data import Data

__all__ = ["MOST_CHANNELS", "Activations", "Moments", "Reader"]

# Examples, and how many at once where the activations of all layers are small.
_EXAMPLES = 512
_BATCH = 32

# Of kernels that read more channels no covariance is found: it grows with the second power, the
# time to invert it with the third.
MOST_CHANNELS = 2048


@dataclass(frozen=True)
class Reader:
    """A kernel that sums over channels along `axis`; `filters[p]` is what position p reads."""

    kernel: Place
    axis: int
    filters: np.ndarray

    @property
    def wide(self) -> bool:
        """Whether it reads too many channels, in the unshrunk network, for a covariance."""
        return len(self.filters) > MOST_CHANNELS


@dataclass(frozen=True)
class Moments:
    """Of what a kernel reads: mean [C], variance [C] and covariance [C, C], float64.

    They are over examples and pixels. The covariance is None where the reader is wide, and where
    it is not finite: training diverged.
    """

    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray | None


class Activations:
    """The moments of shrunk versions of `network`, whose function is traced once."""

    def __init__(self, network: ElasticNetwork, groups: ChannelGroups, data: Data) -> None:
        self._network, self._data = network, data
        self._split = data.train.evenly(_EXAMPLES)
        known = set(network.readers)
        self.readers = [
            Reader(use.variable, use.axis, use.filters)
            for use in groups.uses
            if not use.produces and use.variable in known
        ]
        self.traces: Counter[str] = Counter()
        self._run = self._trace() if self.readers else None
        self._last: tuple[Weights, list[Moments]] | None = None

    def of(self, weights: Weights) -> list[Moments]:
        """Moments of what each of `readers` reads in the network with `weights`."""
        # The steps of an iteration ask about the same network again and again.
        if self._last is None or self._last[0] is not weights:
            self._last = weights, self._found(weights)
        return self._last[1]

    def _found(self, weights: Weights) -> list[Moments]:
        if self._run is None:
            return []
        net = self._network
        values = [tf.constant(weights[p]) for p in (*net.trainable, *net.state)]
        sums: list[tuple[np.ndarray, np.ndarray]] = []
        batch = kept_at_once(net, _BATCH)
        for first in range(0, len(self._split), batch):
            inputs = self._split.inputs[first : first + batch]
            share = len(inputs) / len(self._split)
            found = self._run(values, tf.constant(self._data.prepared(inputs)))
            with np.errstate(invalid="ignore"):  # Of a network that diverged.
                parts = [_part(share, m.numpy().astype(float), s.numpy()) for m, s in found]
                sums = sums or [(np.zeros_like(m), np.zeros_like(s)) for m, s in parts]
                sums = [(a + c, b + d) for (a, b), (c, d) in zip(sums, parts, strict=True)]
        with np.errstate(invalid="ignore"):
            return [_moments(mean, square) for mean, square in sums]

    def _trace(self) -> Any:
        net = self._network
        kernels = [reader.kernel for reader in self.readers]
        wide = [reader.wide for reader in self.readers]
        count = len(net.trainable)

        def moments(values: list[Any], x: Any) -> list[Any]:
            self.traces["activations"] += 1
            found = []
            reads = net.read_by(kernels, values[:count], values[count:], x)
            for rows, is_wide in zip(reads, wide, strict=True):
                mean = tf.reduce_mean(rows, axis=0)
                # In float32, the mean's square would drown what varies little around it.
                rows -= mean
                if is_wide:
                    spread = tf.reduce_mean(tf.square(rows), axis=0)
                else:
                    number = tf.cast(tf.shape(rows)[0], tf.float32)
                    spread = tf.matmul(rows, rows, transpose_a=True) / number
                found.append((mean, spread))
            return found

        places = (*net.trainable, *net.state)
        x = tf.TensorSpec(net.input_shape, tf.float32)
        return tf.function(moments, input_signature=[[net.signature(p) for p in places], x])


def _part(share: float, mean: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a batch adds to the means of channels, and to those of products as `spread` has them."""
    products = np.square(mean) if spread.ndim == 1 else np.outer(mean, mean)
    return share * mean, share * (spread + products)


def _moments(mean: np.ndarray, square: np.ndarray) -> Moments:
    """Those of channels with `mean` [C] whose products have the means `square` [C, C] or [C]."""
    if square.ndim == 1:
        return Moments(mean, np.maximum(square - np.square(mean), 0.0), None)
    covariance = square - np.outer(mean, mean)
    variance = np.maximum(np.diag(covariance), 0.0)
    return Moments(mean, variance, covariance if np.isfinite(covariance).all() else None)
