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
from adapt.training.batches import at_once, read_ahead, split_up
from adapt.training.data import Data, Split
from adapt.training.losses import softened
from adapt.training.optimiser import Optimiser, corrected
from adapt.training.scores import Score, scored
from adapt.training.statistics import Statistics
from adapt.training.step import Batch, Moving, Teacher, TrainStep

__all__ = [
    "Checkpoint",
    "Schedule",
    "Score",
    "Teacher",
    "Trainer",
    "derive_seed",
    "pin_threads",
]

# Large enough to keep two cores busy; networks of large images take fewer at once.
_EVALUATION_BATCH = 256

# The teacher's outputs are found once for all examples up to these bytes, beyond in every step.
_TAUGHT_BYTES = 256 << 20

# Held-out examples that screen a proposal: enough to tell those apart that are worth tuning.
_SCREENED = 768


def pin_threads(threads: int) -> None:
    """Fix TensorFlow's thread counts and kernels: results repeat bit by bit at one thread count.

    Must be called before TensorFlow runs anything.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    for device in tf.config.list_physical_devices("GPU"):
        # Not all of its memory at once: workers share it.
        tf.config.experimental.set_memory_growth(device, True)


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
        strategy: Any = None,
    ) -> None:
        """`strategy`, of tf.distribute, shares each batch out among its replicas."""
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
        self._step = TrainStep(network, teacher, batch, optimiser, self.traces, strategy)
        self._at_once = at_once(network, _EVALUATION_BATCH)
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
        now = Moving(trainable, first, second, state)
        last = schedule.steps if until is None else min(until, schedule.steps)
        end = max(start.step, last)
        for step, batch in zip(
            range(start.step, end), self._batches(seed, start.step), strict=False
        ):
            rate = corrected(self._optimiser, schedule.at(step), step + 1)
            now = self._step(now, batch, tf.constant(rate, tf.float32))
        weights = {
            **start.weights,
            **_values(net.trainable, now.weights),
            **_values(net.state, now.state),
        }
        return Checkpoint(
            weights, _values(net.trainable, now.first), _values(net.trainable, now.second), end
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
        most, values = self._at_once, self._values(weights)
        starts = range(0, len(split), most)
        for stored in read_ahead(split.inputs[first : first + most] for first in starts):
            yield self._inferred(values, self._data.prepared(stored))

    def _inferred(self, values: list[Any], inputs: np.ndarray) -> np.ndarray:
        """Probabilities [n, classes] for at most as many `inputs` as go at once."""
        # The last batch is filled up: a new shape would cost more than the images do.
        full = inputs
        if len(inputs) < self._at_once:
            full = np.resize(inputs, (self._at_once, *inputs.shape[1:]))
        outputs: np.ndarray = self._infer(values, tf.constant(full)).numpy()
        return outputs[: len(inputs)]

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

    def _batches(self, seed: int, first_step: int) -> Iterator[Batch]:
        """Shuffled batches without end, beginning with that of `first_step`."""
        split = self._data.train

        def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for index, random in self._indices(seed, first_step):
                changed = augmented(split.inputs[index], self._augmentation, random)
                yield index, self._data.prepared(changed)

        for index, x in read_ahead(read()):
            taught = self._taught_to(index, x)
            yield Batch(tf.constant(x), tf.constant(split.labels[index]), tf.constant(taught))

    def _indices(
        self, seed: int, first_step: int
    ) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        """Which training examples are in each batch, from that of `first_step` on; its chance."""
        count = len(self._data.train)
        batch = min(self._batch, count)
        per_epoch = count // batch
        epoch, skip = divmod(first_step, per_epoch)
        while True:
            order = np.random.default_rng([seed, epoch]).permutation(count)
            for number in range(skip, per_epoch):
                random = np.random.default_rng([seed, epoch, number])
                yield order[number * batch : (number + 1) * batch], random
            epoch, skip = epoch + 1, 0

    def _taught_to(self, index: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The teacher's softened outputs [n, classes] for training examples; empty without one."""
        teacher = self._teacher
        if teacher is None:
            return np.zeros((len(index), 0), np.float32)
        # Teacher and pupil have to see the same (Beyer et al., CVPR 2022).
        is_changed = self._augmentation is not Augmentation.NONE
        if is_changed or 4 * len(self._data.train) * self._network.classes > _TAUGHT_BYTES:
            values = self._values(teacher.weights)
            parts = [self._inferred(values, x[part]) for part in split_up(len(x), self._at_once)]
            return softened(np.concatenate(parts), teacher.temperature)
        if self._taught is None:
            # All at once, since a long fine-tune sees most of them more than once, and in an order
            # that does not depend on the batches, so that a resumed job finds the same bits.
            outputs = self._outputs(teacher.weights, self._data.train)
            self._taught = np.concatenate([softened(each, teacher.temperature) for each in outputs])
        taught: np.ndarray = self._taught[index]
        return taught

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
