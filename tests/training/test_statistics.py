"""Statistics of batch normalisations, found anew."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.training.data import Data
from adapt.training.finetune import Trainer
from adapt.training.statistics import Statistics


def halved(network: Network) -> tuple[dict[str, list[int]], shrink.Weights]:
    keep = {g.name: list(range(g.width // 2)) for g in network.groups.groups}
    return keep, shrink.slice_weights(network.weights, network.groups, keep)


def test_they_are_those_of_the_examples(digits_network: Network, digits_data: Data) -> None:
    keep, weights = halved(digits_network)
    elastic = ElasticNetwork(digits_network.model, digits_network.groups)
    statistics = Statistics(elastic, digits_data)
    renewed = statistics.renewed(weights)
    model = digits_network.shrunk(keep, weights)
    inner = keras.Model(model.input, model.get_layer("conv2d").output)
    read = np.asarray(inner(digits_data.prepared(digits_data.train.evenly(256).inputs)))
    mean, variance = read.mean(axis=(0, 1, 2)), read.var(axis=(0, 1, 2))
    np.testing.assert_allclose(renewed["batch_normalization", 2], mean, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(renewed["batch_normalization", 3], variance, rtol=1e-3, atol=1e-4)
    moved = {place for place in weights if weights[place].tobytes() != renewed[place].tobytes()}
    assert moved == {(name, n) for name, n in weights if "normalization" in name and n in (2, 3)}
    assert statistics.renewed(renewed).keys() == weights.keys()
    assert statistics.traces == {"statistics": 1}


def test_a_network_that_was_cut_is_better_with_them(
    digits_network: Network, digits_data: Data, digits_trainer: Trainer
) -> None:
    _, weights = halved(digits_network)
    before = digits_trainer.score(weights, digits_data.holdout)
    after = digits_trainer.screened(weights)
    assert after.loss < before.loss
    assert after.accuracy > before.accuracy + 0.1


def test_without_any_the_weights_stay(digits_data: Data) -> None:
    image = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, layers.Dense(10)(x))
    weights = shrink.read_weights(model)
    statistics = Statistics(ElasticNetwork(model, find_groups(model)), digits_data)
    assert statistics.renewed(weights) is weights


def test_of_a_normalisation_that_is_called_twice(digits_data: Data) -> None:
    image = keras.Input((8, 8, 1))
    norm = layers.BatchNormalization(momentum=0.9, name="norm")
    first = layers.Conv2D(4, 3, name="first")(image)
    second = layers.Conv2D(4, 3, name="second")(image)
    both = layers.Add()([norm(first), norm(second)])
    model = keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(both)))
    weights = shrink.read_weights(model)
    renewed = Statistics(ElasticNetwork(model, find_groups(model)), digits_data).renewed(weights)
    x = digits_data.prepared(digits_data.train.evenly(256).inputs)
    reads = [np.asarray(each(x)) for each in (model.get_layer("first"), model.get_layer("second"))]
    # Where training settles: the later call counts a little more.
    shares = np.array([0.9, 1.0]) / 1.9
    for place, moments in ((2, np.mean), (3, np.var)):
        expected = shares @ np.stack([moments(read, axis=(0, 1, 2)) for read in reads])
        np.testing.assert_allclose(renewed["norm", place], expected, rtol=1e-3, atol=1e-4)
