"""One step of fine-tuning, of a batch of any size: in parts that fit memory, on one device or more.

Each function is traced once, whatever the widths and the batch; on several devices once on each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from adapt.network.elastic import ElasticNetwork
from adapt.network.shrink import Weights
from adapt.training.batches import kept_at_once, split_up
from adapt.training.losses import cross_entropy, teaching_loss
from adapt.training.optimiser import Optimiser, updated

__all__ = ["Batch", "Moving", "Teacher", "TrainStep", "strategy_here"]


@dataclass(frozen=True)
class Teacher:
    """The unshrunk network, whose outputs are learnt beside the labels (Hinton et al., 2015).

    `share` of the loss is the teacher's, with outputs softened by `temperature`.
    """

    weights: Weights
    share: float
    temperature: float


class Batch(NamedTuple):
    """Inputs [N, ...], labels [N], and the teacher's softened outputs [N, classes or 0]."""

    x: Any
    y: Any
    taught: Any


class Moving(NamedTuple):
    """What a step changes, as lists of tensors; `first` and `second` are the moments."""

    weights: list[Any]
    first: list[Any]
    second: list[Any]
    state: list[Any]


def strategy_here() -> Any:
    """A strategy over all GPUs where TensorFlow sees several, else None."""
    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else None


class TrainStep:
    """Steps of shrunk versions of `network`; `traces` counts what is traced."""

    def __init__(
        self,
        network: ElasticNetwork,
        teacher: Teacher | None,
        batch: int,
        optimiser: Optimiser,
        traces: Counter[str],
        strategy: Any = None,
    ) -> None:
        """Batches have at most `batch` examples; `strategy` shares each out among its replicas."""
        self._network, self._teacher, self._strategy = network, teacher, strategy
        self.replicas = 1 if strategy is None else int(strategy.num_replicas_in_sync)
        self._most = kept_at_once(network, batch) * self.replicas
        self._optimiser, self._traces = optimiser, traces
        self._gradients = self._trace_gradients()
        self._update = self._trace_update()

    def __call__(self, now: Moving, batch: Batch, rate: Any) -> Moving:
        """After one step of the optimiser at `rate`, as `optimiser.corrected` gives it."""
        count = len(batch.y)
        parts = []
        for part in split_up(count, self._most):
            share = (part.stop - part.start) / count
            gradients, state = self._gradients(
                now.weights, now.state, *(values[part] for values in batch)
            )
            parts.append((share, [*gradients], [*state]))
        gradients = _averaged([(share, found) for share, found, _ in parts])
        state = _averaged([(share, found) for share, _, found in parts])
        weights, first, second = self._update(now.weights, now.first, now.second, gradients, rate)
        return Moving(weights, first, second, state)

    def _trace_gradients(self) -> Any:
        net, strategy = self._network, self._strategy

        def gradients(
            weights: list[Any], state: list[Any], x: Any, y: Any, taught: Any
        ) -> tuple[list[Any], list[Any]]:
            if strategy is None:
                return self._of_examples(weights, state, x, y, taught)
            arguments = (weights, state, x, y, taught)
            found = strategy.run(self._of_replica, arguments)
            # All replicas have the same by now.
            first: tuple[list[Any], list[Any]] = tf.nest.map_structure(
                lambda each: strategy.experimental_local_results(each)[0], found
            )
            return first

        trainable, state = ([net.signature(p) for p in ps] for ps in (net.trainable, net.state))
        x = tf.TensorSpec(net.input_shape, tf.float32)
        y, taught = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        return tf.function(gradients, input_signature=[trainable, state, x, y, taught])

    def _of_examples(
        self, weights: list[Any], state: list[Any], x: Any, y: Any, taught: Any
    ) -> tuple[list[Any], list[Any]]:
        """Gradients of the mean loss, and the new state."""
        self._traces["step"] += 1
        net, teacher = self._network, self._teacher
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, new_state = net.apply(weights, state, x, training=True)
            loss = tf.reduce_mean(cross_entropy(y, outputs, net.gives_logits))
            if teacher is not None:
                lesson = teaching_loss(taught, outputs, net.gives_logits, teacher.temperature)
                loss = (1 - teacher.share) * loss + teacher.share * lesson
        return tape.gradient(loss, weights, unconnected_gradients="zero"), new_state

    def _of_replica(
        self, weights: list[Any], state: list[Any], x: Any, y: Any, taught: Any
    ) -> tuple[list[Any], list[Any]]:
        """`_of_examples` of this replica's examples, averaged over all replicas by their number."""
        context = tf.distribute.get_replica_context()
        replica, count = context.replica_id_in_sync_group, tf.shape(y)[0]
        # One that has no example looks at the last, which then counts for nothing: the statistics
        # of none are no numbers.
        mine = slice(tf.minimum(replica, count - 1), None, self.replicas)
        found = self._of_examples(weights, state, x[mine], y[mine], taught[mine])
        examples = tf.where(replica < count, tf.shape(y[mine])[0], 0)
        share = tf.cast(examples, tf.float32) / tf.cast(count, tf.float32)

        def summed(values: list[Any]) -> list[Any]:
            parts = [v * tf.cast(share, v.dtype) for v in values if v.dtype.is_floating]
            sums = iter(context.all_reduce("sum", parts) if parts else [])
            return [next(sums) if v.dtype.is_floating else v for v in values]

        return summed(found[0]), summed(found[1])

    def _trace_update(self) -> Any:
        def update(
            weights: list[Any], first: list[Any], second: list[Any], gradients: list[Any], rate: Any
        ) -> tuple[list[Any], list[Any], list[Any]]:
            self._traces["update"] += 1
            return updated(self._optimiser, weights, first, second, gradients, rate)

        trainable = [self._network.signature(p) for p in self._network.trainable]
        rate = tf.TensorSpec([], tf.float32)
        return tf.function(
            update, input_signature=[trainable, trainable, trainable, trainable, rate]
        )


def _averaged(parts: Sequence[tuple[float, list[Any]]]) -> list[Any]:
    """The mean by shares of each tensor; of whole numbers, such as seeds, the last."""
    if len(parts) == 1:
        return parts[0][1]
    columns = zip(*(values for _, values in parts), strict=True)
    shares = [share for share, _ in parts]
    return [
        tf.add_n([tf.cast(share, v.dtype) * v for share, v in zip(shares, values, strict=True)])
        if values[0].dtype.is_floating
        else values[-1]
        for values in columns
    ]
