"""Batches in parts that fit memory, and the next one read ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.training import batches
from adapt.training.activations import Activations
from adapt.training.batches import at_once, kept_at_once, read_ahead, split_up
from adapt.training.data import Data
from adapt.training.finetune import Checkpoint, Schedule, Teacher, Trainer


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch, digits_network: Network) -> None:
    """Room for 20 examples of the bundled network at once, however the pass goes."""
    sizes = ElasticNetwork(digits_network.model, digits_network.groups).activation_sizes
    monkeypatch.setattr(batches, "_PASSING_BYTES", 20 * 16 * max(sizes))
    monkeypatch.setattr(batches, "_KEPT_BYTES", 20 * 4 * sum(sizes))


def elastic(network: Network) -> ElasticNetwork:
    return ElasticNetwork(network.model, network.groups)


@pytest.mark.parametrize(("count", "most"), [(1, 1), (128, 128), (128, 50), (7, 3), (10, 1)])
def test_parts_are_few_equal_and_whole(count: int, most: int) -> None:
    parts = split_up(count, most)
    sizes = [part.stop - part.start for part in parts]
    assert sum(sizes) == count
    assert len(parts) == -(-count // most)
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


def test_activations_decide_how_many_examples_go_at_once() -> None:
    image = keras.Input((64, 64, 3))
    x = layers.Conv2D(32, 3, padding="same")(image)
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, x)
    network = ElasticNetwork(model, find_groups(model))
    assert network.activation_sizes == [64 * 64 * 3, 64 * 64 * 32, 32, 5]
    assert at_once(network, 128) == 128
    assert at_once(network, 1 << 20) == (384 << 20) // (16 * 64 * 64 * 32)
    assert kept_at_once(network, 1 << 20) == (384 << 20) // (4 * (64 * 64 * 35 + 37))


def test_a_batch_in_parts_is_as_good_as_a_whole_one(
    digits_network: Network,
    digits_data: Data,
    digits_trainer: Trainer,
    request: pytest.FixtureRequest,
) -> None:
    schedule, start = Schedule(0.001, 30, cosine=False), Checkpoint(digits_network.weights)
    whole = digits_trainer.train(start, schedule, seed=2)
    request.getfixturevalue("small_parts")
    trainer = Trainer(elastic(digits_network), digits_data, batch=32)
    parts = trainer.train(start, schedule, seed=2)
    assert trainer.traces == {"step": 1, "update": 1}
    scores = [digits_trainer.score(each.weights, digits_data.test) for each in (whole, parts)]
    assert abs(scores[0].accuracy - scores[1].accuracy) < 0.02
    # Statistics go on from step to step, not from part to part; those of the first see the same.
    place = next(p for p in whole.weights if p[1] == 2 and "normalization" in p[0])
    np.testing.assert_allclose(parts.weights[place], whole.weights[place], rtol=0.1, atol=0.02)


def test_without_normalisation_parts_give_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="relu")(image))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(x))
    groups, weights = find_groups(model), shrink.read_weights(model)
    random = np.random.default_rng(0)
    from adapt.training.splits import Split

    split = Split(random.random((50, 8, 8, 1), np.float32), np.arange(50, dtype=np.int32) % 10)
    data = Data(split, split, split, tuple("0123456789"), 1.0, 0.0, "")
    teacher = Teacher(weights, 0.5, 3.0)

    def trained() -> shrink.Weights:
        trainer = Trainer(ElasticNetwork(model, groups), data, batch=50, teacher=teacher)
        schedule = Schedule(0.01, 3, cosine=False)
        return trainer.train(Checkpoint(weights), schedule, seed=1).first

    whole = trained()
    sizes = ElasticNetwork(model, groups).activation_sizes
    monkeypatch.setattr(batches, "_KEPT_BYTES", 12 * 4 * sum(sizes))
    for place, value in trained().items():
        np.testing.assert_allclose(value, whole[place], rtol=1e-3, atol=1e-6)


def test_statistics_moments_and_scores_in_parts(
    digits_network: Network,
    digits_data: Data,
    digits_trainer: Trainer,
    request: pytest.FixtureRequest,
) -> None:
    weights, groups = digits_network.weights, digits_network.groups
    whole = digits_trainer.renewed(weights), digits_trainer.score(weights, digits_data.holdout)
    moments = Activations(elastic(digits_network), groups, digits_data).of(weights)
    request.getfixturevalue("small_parts")
    trainer = Trainer(elastic(digits_network), digits_data, batch=32)
    parts = trainer.renewed(weights), trainer.score(weights, digits_data.holdout)
    assert parts[1].accuracy == whole[1].accuracy
    assert parts[1].loss == pytest.approx(whole[1].loss, rel=1e-5)
    # The first sees the same inputs either way; those behind it, what parts of theirs are like.
    first = [place for place in weights if place[1] >= 2 and "normalization" in place[0]][:2]
    for place in first:
        np.testing.assert_allclose(parts[0][place], whole[0][place], rtol=1e-4, atol=1e-5)
    again = Activations(elastic(digits_network), groups, digits_data).of(weights)
    for one, other in zip(moments, again, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.variance, other.variance, rtol=1e-3, atol=1e-5)


def test_a_table_of_lessons_that_is_too_large(
    digits_network: Network, digits_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher is then asked in every step, and says the same."""
    from adapt.training import finetune

    teacher = Teacher(digits_network.weights, 0.7, 3.0)
    start, schedule = Checkpoint(digits_network.weights), Schedule(0.001, 4, cosine=False)

    def trained() -> Checkpoint:
        trainer = Trainer(elastic(digits_network), digits_data, batch=32, teacher=teacher)
        return trainer.train(start, schedule, seed=3)

    held = trained()
    monkeypatch.setattr(finetune, "_TAUGHT_BYTES", 1000)
    asked = trained()
    for place, value in held.first.items():
        np.testing.assert_allclose(asked.first[place], value, rtol=1e-3, atol=1e-6)


def test_the_next_is_made_while_one_is_in_use() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    ahead = read_ahead(items())
    assert next(ahead) == 1
    assert made.wait(10)
    assert list(ahead) == [2]


def test_an_error_reaches_who_reads() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="no more"):
        next(ahead)
