"""Training and scoring of shrunk versions of one network."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.network.shrink import Weights
from adapt.training.augmentation import Augmentation
from adapt.training.data import Data, Split
from adapt.training.finetune import Checkpoint, Schedule, Teacher, Trainer, derive_seed
from adapt.training.optimiser import Optimiser

RATE = 0.001


def constant(steps: int, rate: float = RATE) -> Schedule:
    return Schedule(rate, steps, cosine=False)


def same(left: Weights, right: Weights) -> bool:
    """Whether two sets of weights are equal bit by bit."""
    return left.keys() == right.keys() and all(
        left[p].tobytes() == right[p].tobytes() for p in left
    )


def narrowed(network: Network, width: Callable[[int], int]) -> tuple[dict[str, list[int]], Weights]:
    """The first filters of each group, and the weights that belong to them."""
    keep = {g.name: list(range(width(g.width))) for g in network.groups.groups}
    return keep, shrink.slice_weights(network.weights, network.groups, keep)


# --- seeds and schedules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ((0,), 804681139),
        ((0, "finish"), 1630576800),
        ((7, 3, "conv2d_1"), 1648828882),
        (("7/3/conv2d_1",), 1648828882),
    ],
)
def test_seeds_stay_what_they_are(parts: tuple[object, ...], seed: int) -> None:
    assert derive_seed(*parts) == seed


def test_seeds_differ_and_fit_an_int32() -> None:
    seeds = {derive_seed(job, step) for job in range(40) for step in range(40)}
    assert len(seeds) == 1600
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_schedules() -> None:
    assert [constant(3).at(step) for step in range(3)] == [RATE] * 3
    cosine = Schedule(0.4, 4, cosine=True)
    expected = [0.4, 0.4 * (0.5 + math.sqrt(0.125)), 0.2, 0.4 * (0.5 - math.sqrt(0.125)), 0.0]
    assert [cosine.at(step) for step in range(5)] == pytest.approx(expected)


# --- the same weights again --------------------------------------------------------------------


def test_training_in_pieces(digits_network: Network, digits_trainer: Trainer) -> None:
    start, schedule = Checkpoint(digits_network.weights), Schedule(RATE, 9, cosine=True)
    whole = digits_trainer.train(start, schedule, seed=5)
    pieces = start
    for until in (2, 2, 3, 8, 100):
        pieces = digits_trainer.train(pieces, schedule, seed=5, until=until)
    assert pieces.step == whole.step == 9
    assert same(pieces.weights, whole.weights)
    assert same(pieces.first, whole.first)
    assert same(pieces.second, whole.second)
    assert same(whole.weights, digits_trainer.train(start, schedule, seed=5).weights)
    assert not same(whole.weights, digits_trainer.train(start, schedule, seed=6).weights)


def test_pieces_across_epochs(digits_network: Network, digits_data: Data) -> None:
    few = replace(digits_data, train=digits_data.train.take(np.arange(70)))
    network = ElasticNetwork(digits_network.model, digits_network.groups)
    trainer = Trainer(network, few, batch=32)  # Two batches an epoch, and six examples left over.
    start = Checkpoint(digits_network.weights)
    whole = trainer.train(start, constant(5), seed=1)
    piece = trainer.train(start, constant(5), seed=1, until=3)
    assert same(whole.weights, trainer.train(piece, constant(5), seed=1).weights)


def test_training_leaves_its_start_alone(digits_network: Network, digits_trainer: Trainer) -> None:
    before = {place: value.copy() for place, value in digits_network.weights.items()}
    digits_trainer.train(Checkpoint(digits_network.weights), constant(2), seed=1)
    assert same(before, digits_network.weights)


def test_nothing_to_do(digits_network: Network, digits_trainer: Trainer) -> None:
    none = digits_trainer.train(Checkpoint(digits_network.weights), constant(0), seed=1)
    assert none.step == 0
    assert same(none.weights, digits_network.weights)
    done = digits_trainer.train(Checkpoint(digits_network.weights), constant(3), seed=1)
    again = digits_trainer.train(done, constant(3), seed=1, until=2)
    assert again.step == 3
    assert same(again.weights, done.weights)


ANOTHER_PROCESS = """
import sys
import numpy as np
from adapt.telemetry import import_tensorflow
import_tensorflow()
from adapt.training.finetune import Checkpoint, Schedule, Trainer, pin_threads
pin_threads(1)
from adapt.demo import MODEL
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from adapt.network.load import load_model
from adapt.network.shrink import read_weights
from adapt.training.data import DataOptions, load_data
model = load_model(MODEL)
data = load_data("adapt.demo:digits", (8, 8, 1), 10, DataOptions())
trainer = Trainer(ElasticNetwork(model, find_groups(model)), data, batch=32)
trained = trainer.train(
    Checkpoint(read_weights(model)), Schedule(0.001, 4, cosine=False), seed=11
)
np.savez(sys.argv[1], *trained.weights.values(), *trained.second.values())
"""


def test_another_process_gives_the_same_bytes(
    digits_network: Network, digits_trainer: Trainer, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text(ANOTHER_PROCESS)
    file = tmp_path / "weights.npz"
    subprocess.run([sys.executable, script, file], check=True, timeout=120)
    here = digits_trainer.train(Checkpoint(digits_network.weights), constant(4), seed=11)
    with np.load(file) as there:
        values = [*here.weights.values(), *here.second.values()]
        assert [there[name].tobytes() for name in there.files] == [v.tobytes() for v in values]


# --- what training does ------------------------------------------------------------------------


def test_it_learns(digits_network: Network, digits_data: Data, digits_trainer: Trainer) -> None:
    _, weights = narrowed(digits_network, lambda width: width // 2)
    before = digits_trainer.score(weights, digits_data.holdout)
    trained = digits_trainer.train(Checkpoint(weights), constant(60, rate=0.002), seed=1)
    after = digits_trainer.score(trained.weights, digits_data.holdout)
    assert before.accuracy < 0.8
    assert after.accuracy > 0.9
    assert after.loss < before.loss


def test_any_widths_without_tracing_again(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    random = np.random.default_rng(3)
    for _ in range(8):
        keep, weights = narrowed(digits_network, lambda width: int(random.integers(1, width + 1)))
        trained = digits_trainer.train(Checkpoint(weights), constant(1), seed=1)
        digits_trainer.score(trained.weights, digits_data.holdout)
        model = digits_network.shrunk(keep, trained.weights)  # Raises where a shape does not fit.
        assert len(model.weights) > 0
    assert set(digits_trainer.traces.values()) == {1}


@pytest.mark.parametrize(
    ("optimiser", "of_keras", "rate"),
    [
        (Optimiser.ADAM, keras.optimizers.Adam, 0.01),
        (Optimiser.MOMENTUM, partial(keras.optimizers.SGD, momentum=0.9, nesterov=True), 0.002),
    ],
)
def test_one_step_and_the_next_are_those_of_keras(
    digits_network: Network,
    digits_data: Data,
    optimiser: Optimiser,
    of_keras: Callable[[], Any],
    rate: float,
) -> None:
    batch = digits_data.train.take(np.arange(48))
    network = ElasticNetwork(digits_network.model, digits_network.groups)
    one = replace(digits_data, train=batch)  # One batch is all.
    trainer = Trainer(network, one, batch=48, optimiser=optimiser)
    schedule = Schedule(rate, 3, cosine=True)
    # Away from the optimum: Adam follows the sign of gradients that are nothing but rounding.
    random = np.random.default_rng(2)
    start = {p: (v + random.normal(0, 0.05, v.shape) ** 2).astype(np.float32)
             for p, v in digits_network.weights.items()}  # fmt: skip
    ours = trainer.train(Checkpoint(start), schedule, seed=1)

    model = keras.models.clone_model(digits_network.model)
    shrink.write_weights(model, start)
    model.compile(of_keras(), "sparse_categorical_crossentropy")
    for step in range(3):
        model.optimizer.learning_rate = schedule.at(step)
        model.train_on_batch(digits_data.prepared(batch.inputs), batch.labels)
    theirs = shrink.read_weights(model)
    assert max(np.abs(v - start[p]).max() for p, v in theirs.items()) > 0.01
    for place, value in theirs.items():
        np.testing.assert_allclose(ours.weights[place], value, rtol=2e-3, atol=2e-4)


# --- scores ------------------------------------------------------------------------------------


def test_scores_are_those_of_keras_and_of_plain_numpy(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    keep, weights = narrowed(digits_network, lambda width: width * 3 // 4)
    split = digits_data.train.take(np.arange(300))  # A full batch of 256, and a part of one.
    score = digits_trainer.score(weights, split)
    model = digits_network.shrunk(keep, weights)
    inputs = digits_data.prepared(split.inputs)

    outputs = np.asarray(model(inputs, training=False), np.float64)
    right = [int(np.argmax(row)) == label for row, label in zip(outputs, split.labels, strict=True)]
    losses = [-math.log(max(row[n], 1e-7)) for row, n in zip(outputs, split.labels, strict=True)]
    assert score.accuracy == sum(right) / 300
    assert score.loss == pytest.approx(sum(losses) / 300, rel=1e-4)

    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(inputs, split.labels, verbose=0)
    assert score.accuracy == pytest.approx(accuracy)
    assert score.loss == pytest.approx(loss, rel=1e-3)
    assert 0.1 < score.accuracy < 1


def test_a_network_that_diverged_is_wrong_but_comparable(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    weights = {p: np.full_like(value, np.nan) for p, value in digits_network.weights.items()}
    score = digits_trainer.score(weights, digits_data.holdout)
    assert score.accuracy == 0
    assert score.loss == pytest.approx(-math.log(keras.config.epsilon()))


# --- other networks ----------------------------------------------------------------------------

INPUTS = np.random.default_rng(0).normal(size=(64, 6, 6, 2)).astype(np.float32)
LABELS = (INPUTS.mean(axis=(1, 2, 3)) > 0).astype(np.int32) + (INPUTS[:, 0, 0, 0] > 1)
SPLIT = Split(INPUTS, LABELS.astype(np.int32))
NOISE = Data(SPLIT, SPLIT, SPLIT, ("a", "b", "c"), 1.0, 0.0, "")


def small(*middle: layers.Layer, tail: list[layers.Layer]) -> keras.Model:
    """A little network around `middle`, with the same weights every time."""
    image = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, activation="relu", name="first")(image)
    for layer in (*middle, layers.Conv2D(6, 3, name="second"), layers.Flatten(), *tail):
        x = layer(x)
    model, random = keras.Model(image, x), np.random.default_rng(3)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0, 0.2, variable.shape))
    return model


def softmax() -> list[layers.Layer]:
    return [layers.Dense(3, activation="softmax", name="last")]


def trained(model: keras.Model, seed: int, steps: int = 6) -> tuple[Trainer, Checkpoint]:
    trainer = Trainer(ElasticNetwork(model, find_groups(model)), NOISE, batch=16)
    start = Checkpoint(shrink.read_weights(model))
    return trainer, trainer.train(start, constant(steps, rate=0.01), seed=seed)


def test_outputs_of_either_kind() -> None:
    tails: dict[str, Any] = {
        "softmax": softmax(),
        "logits": [layers.Dense(3, name="last")],
        "softmax layer": [layers.Dense(3, name="last"), layers.Softmax()],
    }
    results = {}
    for kind, tail in tails.items():
        trainer, checkpoint = trained(small(tail=tail), seed=1)
        results[kind] = trainer.score(checkpoint.weights, SPLIT)
    for score in results.values():
        assert score.accuracy == results["softmax"].accuracy
        assert score.loss == pytest.approx(results["softmax"].loss, rel=1e-3)


def test_dropout_repeats() -> None:
    def run(seed: int, rate: float = 0.5) -> Weights:
        return trained(small(layers.Dropout(rate), tail=softmax()), seed)[1].weights

    def kernels(weights: Weights) -> Weights:
        return {p: weights[p] for p in weights if p[0] in ("first", "second", "last")}

    assert same(kernels(run(1)), kernels(run(1)))
    assert not same(kernels(run(1)), kernels(run(2)))
    assert not same(kernels(run(1)), kernels(run(1, rate=0.1)))


def test_dropout_repeats_in_pieces() -> None:
    model = small(layers.Dropout(0.5), tail=softmax())
    trainer, whole = trained(model, seed=4)
    piece = Checkpoint(shrink.read_weights(model))
    for until in (1, 4, 6):
        piece = trainer.train(piece, constant(6, rate=0.01), seed=4, until=until)
    assert same(piece.weights, whole.weights)


def test_frozen_layers_stay() -> None:
    norm = layers.BatchNormalization(name="norm")
    model = small(norm, tail=softmax())
    model.get_layer("first").trainable = norm.trainable = False
    before = shrink.read_weights(model)
    _, after = trained(model, seed=1)
    changed = {place[0] for place, value in after.weights.items() if (value != before[place]).any()}
    assert changed == {"second", "last"}
    assert {place[0] for place in after.first} == {"second", "last"}


def test_batch_statistics_follow() -> None:
    model = small(layers.BatchNormalization(name="norm"), tail=softmax())
    before = shrink.read_weights(model)
    _, after = trained(model, seed=1)
    for place in [p for p in before if p[0] == "norm"]:
        assert (after.weights[place] != before[place]).all()


def test_an_epoch_takes_every_example_once_in_an_order_of_its_own() -> None:
    model = small(tail=softmax())
    trainer = Trainer(ElasticNetwork(model, find_groups(model)), NOISE, batch=16)
    batches = [x.numpy() for x, *_ in itertools.islice(trainer._batches(1, 0), 8)]
    first, second = np.concatenate(batches[:4]), np.concatenate(batches[4:])
    assert not (first == INPUTS).all()
    assert not (first == second).all()
    for epoch in (first, second):
        assert sorted(x.tobytes() for x in epoch) == sorted(x.tobytes() for x in INPUTS)


def test_batches_larger_than_the_data() -> None:
    model = small(tail=softmax())
    trainer = Trainer(ElasticNetwork(model, find_groups(model)), NOISE, batch=1000)
    start = Checkpoint(shrink.read_weights(model))
    after = trainer.train(start, constant(20, rate=0.01), seed=1)
    assert trainer.score(after.weights, SPLIT).loss < trainer.score(start.weights, SPLIT).loss


# --- a teacher ---------------------------------------------------------------------------------


def taught(network: Network, data: Data, share: float) -> Trainer:
    elastic = ElasticNetwork(network.model, network.groups)
    return Trainer(elastic, data, batch=32, teacher=Teacher(network.weights, share, 3.0))


def test_a_teacher_is_followed(digits_network: Network, digits_data: Data) -> None:
    """With labels that are all wrong, only the teacher can say what is right."""
    wrong = replace(digits_data.train, labels=(digits_data.train.labels + 1) % 10)
    data = replace(digits_data, train=wrong)
    _, weights = narrowed(digits_network, lambda width: width // 2)
    accuracies = [
        taught(digits_network, data, share)
        .train(Checkpoint(weights), constant(60, rate=0.002), seed=1)
        .weights
        for share in (1.0, 0.0)
    ]
    trainer = taught(digits_network, data, 1.0)
    followed, deaf = (trainer.score(each, digits_data.holdout).accuracy for each in accuracies)
    assert followed > 0.85
    assert deaf < 0.2


def test_a_teacher_in_pieces(digits_network: Network, digits_data: Data) -> None:
    start, schedule = Checkpoint(digits_network.weights), Schedule(RATE, 5, cosine=True)
    whole = taught(digits_network, digits_data, 0.7).train(start, schedule, seed=5)
    piece = taught(digits_network, digits_data, 0.7).train(start, schedule, seed=5, until=2)
    other = taught(digits_network, digits_data, 0.7)
    assert same(whole.weights, other.train(piece, schedule, seed=5).weights)
    assert set(other.traces.values()) == {1}


@pytest.mark.parametrize("optimiser", Optimiser)
def test_changed_images_in_pieces(
    digits_network: Network, digits_data: Data, optimiser: Optimiser
) -> None:
    """What chance does to images, and a teacher to what is learnt of them, repeats as well."""

    def made(augmentation: Augmentation) -> Trainer:
        elastic = ElasticNetwork(digits_network.model, digits_network.groups)
        teacher = Teacher(digits_network.weights, 0.7, 3.0)
        return Trainer(
            elastic, digits_data, batch=32, teacher=teacher,
            optimiser=optimiser, augmentation=augmentation,
        )  # fmt: skip

    start, schedule = Checkpoint(digits_network.weights), Schedule(RATE, 5, cosine=True)
    whole = made(Augmentation.BOTH).train(start, schedule, seed=5)
    other = made(Augmentation.BOTH)
    piece = other.train(start, schedule, seed=5, until=2)
    assert same(whole.weights, other.train(piece, schedule, seed=5).weights)
    assert not same(whole.weights, made(Augmentation.NONE).train(start, schedule, seed=5).weights)
    assert set(other.traces.values()) == {1}
