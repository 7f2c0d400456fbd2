"""Fine-tuning and scoring of any proposal of one network, each function traced once."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from adapt.network.elastic import ElasticNetwork
from adapt.network.shrink import Weights
from adapt.training.augmentation import Augmentation, augmented, check_images
from adapt.training.data import Data, Split
from adapt.training.losses import cross_entropy, softened, teaching_loss
from adapt.training.optimiser import Optimiser, corrected, updated
from adapt.training.scores import Score, scored
from adapt.training.statistics import Statistics

__all__ = [
    "Checkpoint",
    "Schedule",
    "Score",
    "Teacher",
    "Trainer",
    "derive_seed",
    "pin_threads",
]

# Large enough to keep two cores busy, small enough for networks of 224 x 224 pixels.
_EVALUATION_BATCH = 256

# Held-out examples that screen a proposal: enough to tell those apart that are worth tuning.
_SCREENED = 768


def pin_threads(threads: int) -> None:
    """Fix TensorFlow's thread counts and kernels: results repeat bit by bit at one thread count.

    Must be called before TensorFlow runs anything.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()


def derive_seed(*parts: object) -> int:
    """A 31-bit seed from a job's seed, step and proposal; the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


@dataclass(frozen=True)
class Schedule:
    """Learning rate over `steps`: constant, or a cosine from `rate` to 0."""

    rate: float
    steps: int
    cosine: bool

    def at(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        if not self.cosine:
            return self.rate
        return self.rate * 0.5 * (1.0 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Checkpoint:
    """A network in the middle of training.

    `first` and `second` are the optimiser's moments of the trainable variables, by place; empty
    before the first of `step` steps.
    """

    weights: Weights
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)
    step: int = 0


@dataclass(frozen=True)
class Teacher:
    """The unshrunk network, whose outputs are learnt beside the labels (Hinton et al., 2015).

    `share` of the loss is the teacher's, with outputs softened by `temperature`.
    """

    weights: Weights
    share: float
    temperature: float


class Trainer:
    """Trains and scores networks that are shrunk versions of one.

    They learn class labels, and what `teacher` says where there is one, from training examples
    changed as `augmentation` has it; InputError where those are no images. `traces` counts how
    often each function was traced: once, whatever the widths.
    """

    def __init__(
        self,
        network: ElasticNetwork,
        data: Data,
        *,
        batch: int,
        teacher: Teacher | None = None,
        optimiser: Optimiser = Optimiser.ADAM,
        augmentation: Augmentation = Augmentation.NONE,
    ) -> None:
        check_images(data.train.inputs, augmentation)
        self._network = network
        self._data = data
        self._batch = batch
        self._teacher = teacher
        self._optimiser = optimiser
        self._augmentation = augmentation
        self._taught: np.ndarray | None = None
        self._statistics = Statistics(network, data)
        self._screen = data.holdout.evenly(_SCREENED)
        self.traces: Counter[str] = self._statistics.traces
        self._train_step = self._trace_train_step()
        self._infer = self._trace_inference()

    def train(
        self, start: Checkpoint, schedule: Schedule, *, seed: int, until: int | None = None
    ) -> Checkpoint:
        """Train from `start` up to step `until` (the schedule's end if None).

        Batches are a function of `seed` and the step alone, so that training in pieces gives the
        same weights as in one go.
        """
        net = self._network
        trainable = [tf.constant(start.weights[p]) for p in net.trainable]
        state = [tf.constant(v) for v in self._seeded(start, seed)]
        first, second = (
            [tf.constant(moments[p]) for p in net.trainable] if moments else _zeros(trainable)
            for moments in (start.first, start.second)
        )
        last = schedule.steps if until is None else min(until, schedule.steps)
        end = max(start.step, last)
        for step, (x, y, taught) in zip(
            range(start.step, end), self._batches(seed, start.step), strict=False
        ):
            rate = corrected(self._optimiser, schedule.at(step), step + 1)
            trainable, first, second, state = self._train_step(
                trainable, first, second, state, x, y, taught, tf.constant(rate, tf.float32)
            )
        weights = {
            **start.weights,
            **_values(net.trainable, trainable),
            **_values(net.state, state),
        }
        return Checkpoint(
            weights, _values(net.trainable, first), _values(net.trainable, second), end
        )

    def score(self, weights: Weights, split: Split) -> Score:
        """Accuracy and loss of the network with `weights` on `split`, always finite."""
        return scored(self._outputs(weights, split), split.labels)

    def renewed(self, weights: Weights) -> Weights:
        """`weights` with the statistics of batch normalisations found anew; the rest as it is."""
        return self._statistics.renewed(weights)

    def screened(self, weights: Weights) -> Score:
        """A quick look at a network that lost filters: untrained, but with new statistics."""
        return self.score(self.renewed(weights), self._screen)

    def _outputs(self, weights: Weights, split: Split) -> Iterator[np.ndarray]:
        """Probabilities [n, classes] of the examples of `split`, batch by batch."""
        values = self._values(weights)
        for first in range(0, len(split), _EVALUATION_BATCH):
            inputs = self._data.prepared(split.inputs[first : first + _EVALUATION_BATCH])
            # The last batch is filled up: a new shape would cost more than the images do.
            full = np.resize(inputs, (_EVALUATION_BATCH, *inputs.shape[1:]))
            yield self._infer(values, tf.constant(full)).numpy()[: len(inputs)]

    def _values(self, weights: Weights) -> list[Any]:
        """What inference takes as weights."""
        return [tf.constant(weights[p]) for p in (*self._network.trainable, *self._network.state)]

    def _seeded(self, start: Checkpoint, seed: int) -> list[np.ndarray]:
        """Values of the state, with random-number state set from the seed at the first step."""
        values = {p: start.weights[p] for p in self._network.state}
        if start.step == 0:
            for number, place in enumerate(self._network.seeds):
                values[place] = np.array([seed, number], values[place].dtype)
        return list(values.values())

    def _batches(self, seed: int, first_step: int) -> Iterator[tuple[Any, Any, Any]]:
        """Shuffled batches without end, beginning with that of `first_step`: x, y, taught."""
        split = self._data.train
        batch = min(self._batch, len(split))
        per_epoch = len(split) // batch
        epoch, skip = divmod(first_step, per_epoch)
        while True:
            order = np.random.default_rng([seed, epoch]).permutation(len(split))
            for number in range(skip, per_epoch):
                index = order[number * batch : (number + 1) * batch]
                random = np.random.default_rng([seed, epoch, number])
                changed = augmented(split.inputs[index], self._augmentation, random)
                inputs = self._data.prepared(changed)
                taught = self._taught_to(index, inputs)
                yield tf.constant(inputs), tf.constant(split.labels[index]), tf.constant(taught)
            epoch, skip = epoch + 1, 0

    def _taught_to(self, index: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The teacher's softened outputs [n, classes] for training examples, prepared as `inputs`.

        Empty without a teacher.
        """
        if self._teacher is None:
            return np.zeros((len(index), 0), np.float32)
        weights, temperature = self._teacher.weights, self._teacher.temperature
        if self._augmentation is not Augmentation.NONE:
            # Teacher and pupil have to see the same (Beyer et al., CVPR 2022).
            outputs = self._infer(self._values(weights), tf.constant(inputs)).numpy()
            return softened(outputs, temperature)
        if self._taught is None:
            # All at once, since a long fine-tune sees most of them more than once, and in an order
            # that does not depend on the batches, so that a resumed job finds the same bits.
            parts = self._outputs(weights, self._data.train)
            self._taught = np.concatenate([softened(each, temperature) for each in parts])
        taught: np.ndarray = self._taught[index]
        return taught

    def _trace_train_step(self) -> Any:
        net, teacher = self._network, self._teacher

        def step(
            weights: list[Any], first: list[Any], second: list[Any], state: list[Any],
            x: Any, y: Any, taught: Any, rate: Any,
        ) -> tuple[list[Any], list[Any], list[Any], list[Any]]:  # fmt: skip
            self.traces["step"] += 1
            with tf.GradientTape() as tape:
                tape.watch(weights)
                outputs, new_state = net.apply(weights, state, x, training=True)
                loss = tf.reduce_mean(cross_entropy(y, outputs, net.gives_logits))
                if teacher is not None:
                    lesson = teaching_loss(taught, outputs, net.gives_logits, teacher.temperature)
                    loss = (1 - teacher.share) * loss + teacher.share * lesson
            gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
            weights, first, second = updated(
                self._optimiser, weights, first, second, gradients, rate
            )
            return weights, first, second, new_state

        trainable = [net.signature(p) for p in net.trainable]
        state = [net.signature(p) for p in net.state]
        return tf.function(
            step,
            input_signature=[
                trainable,
                trainable,
                trainable,
                state,
                tf.TensorSpec(net.input_shape, tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([], tf.float32),
            ],
        )

    def _trace_inference(self) -> Any:
        net = self._network
        count = len(net.trainable)

        def infer(values: Sequence[Any], x: Any) -> Any:
            self.traces["inference"] += 1
            outputs, _ = net.apply(values[:count], values[count:], x, training=False)
            return tf.nn.softmax(outputs) if net.gives_logits else outputs

        places = (*net.trainable, *net.state)
        return tf.function(
            infer,
            input_signature=[
                [net.signature(p) for p in places],
                tf.TensorSpec(net.input_shape, tf.float32),
            ],
        )


def _zeros(tensors: Sequence[Any]) -> list[Any]:
    return [tf.zeros_like(tensor) for tensor in tensors]


def _values(places: Sequence[tuple[str, int]], tensors: Sequence[Any]) -> Weights:
    return {place: tensor.numpy() for place, tensor in zip(places, tensors, strict=True)}
