"""The network as a function of its weights computes what a Keras model of those widths does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import find_groups
from adapt.training.data import Data, Split
from adapt.training.finetune import Checkpoint, Schedule, Trainer
from tests.network.blocks import BLOCKS
from tests.network.elasticity import apply, assert_elastic

RandomKeep = Callable[..., dict[str, list[int]]]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["demo", "mobilenet_v2"])
def test_real_networks(
    model_of: Callable[[str], keras.Model], random_keep: RandomKeep, name: str, training: bool
) -> None:
    model = keras.models.clone_model(model_of(name), clone_function=with_fast_statistics)
    model.set_weights(model_of(name).get_weights())
    assert_elastic(model, random_keep(find_groups(model), 6, least=2), training=training)


def with_fast_statistics(layer: Any) -> Any:
    """A layer whose statistics follow as fast as fine-tuning lets them."""
    if isinstance(layer, layers.Lambda):
        return layer
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        config["momentum"] = 0.9
    return type(layer).from_config(config)


def depthwise(x: Any) -> Any:
    x = layers.Conv2D(6, 1)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    return layers.Flatten()(layers.SeparableConv2D(5, 3, depth_multiplier=2)(x))


def transposed(x: Any) -> Any:
    x = layers.Conv2DTranspose(6, 3, strides=2, activation="relu")(layers.Conv2D(5, 3)(x))
    x = layers.Conv2DTranspose(4, 2, padding="same", use_bias=False)(x)
    return layers.GlobalAveragePooling2D()(layers.PReLU(shared_axes=[1, 2])(x))


def reshapes(x: Any) -> Any:
    x = layers.Reshape((-1, 6))(layers.Conv2D(6, 3)(x))
    x = layers.Reshape((6, 6, 5))(layers.Conv1D(5, 3, padding="same")(x))
    return layers.Reshape((-1,))(layers.PReLU()(x))


def row_norm(x: Any) -> Any:
    x = layers.Conv2D(6, 1)(layers.Conv2D(5, 1)(x))
    x = layers.BatchNormalization(axis=1, momentum=0.9)(x)
    return layers.Flatten()(layers.Conv2D(4, 1)(x))


def frozen_norm(x: Any) -> Any:
    x = layers.BatchNormalization(trainable=False)(layers.Conv2D(6, 1)(x))
    return layers.Flatten()(layers.BatchNormalization(momentum=0.5)(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "block",
    [depthwise, transposed, reshapes, row_norm, frozen_norm],
    ids=lambda block: block.__name__,
)
def test_small_networks(
    randomise: Callable[..., keras.Model],
    random_keep: RandomKeep,
    block: Callable[[Any], Any],
    training: bool,
) -> None:
    image = keras.Input((8, 8, 3))
    model = randomise(keras.Model(image, layers.Dense(4)(layers.Dense(7)(block(image)))))
    assert_elastic(model, random_keep(find_groups(model), 4, least=2), training=training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_blocks(
    randomise: Callable[..., keras.Model],
    random_keep: RandomKeep,
    block: Callable[[Any], Any],
    training: bool,
) -> None:
    image = keras.Input((10, 10, 3))
    model = keras.Model(image, layers.Dense(4)(layers.Dense(7)(block(image))))
    model = randomise(keras.models.clone_model(model, clone_function=with_fast_statistics))
    assert_elastic(model, random_keep(find_groups(model), 4, least=2), training=training)


def test_the_model_is_not_touched(model_of: Callable[[str], keras.Model]) -> None:
    model = model_of("demo")
    before, config = model.get_weights(), model.get_config()
    elastic = ElasticNetwork(model, find_groups(model))
    apply(elastic, shrink.read_weights(model), np.ones((2, 8, 8, 1), np.float32), training=True)
    assert model.get_config() == config
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_signature_is_open_where_a_group_shrinks(chain: Callable[..., keras.Model]) -> None:
    model = chain(
        layers.Conv2D(4, 3, name="a"), layers.BatchNormalization(), layers.Conv2D(5, 3, name="b")
    )
    elastic = ElasticNetwork(model, find_groups(model))
    assert elastic.signature(("a", 0)).shape.as_list() == [3, 3, 3, None]
    assert elastic.signature(("a", 1)).shape.as_list() == [None]
    assert elastic.signature(("b", 0)).shape.as_list() == [3, 3, None, 5]
    assert elastic.signature(("b", 1)).shape.as_list() == [5]


@pytest.mark.parametrize(
    ("end", "gives_logits"),
    [
        (lambda: layers.Dense(3), True),
        (lambda: layers.Dense(3, activation="softmax"), False),
        (lambda: layers.Softmax(), False),
        (lambda: layers.Activation("softmax"), False),
        (lambda: keras.ops.softmax, False),
    ],
    ids=["dense", "softmax", "layer", "activation", "operation"],
)
def test_gives_logits(
    chain: Callable[..., keras.Model], end: Callable[[], Any], gives_logits: bool
) -> None:
    model = chain(layers.Flatten(), layers.Dense(4), end())
    assert ElasticNetwork(model, find_groups(model)).gives_logits is gives_logits


def some_data(shape: tuple[int, ...]) -> Data:
    rng = np.random.default_rng(0)
    split = Split(rng.random((40, *shape), np.float32), rng.integers(0, 10, 40).astype(np.int32))
    return Data(split, split, split, tuple(map(str, range(10))), 1.0, 0.0, "")


def test_each_function_is_traced_once_for_all_widths(
    model_of: Callable[[str], keras.Model], random_keep: RandomKeep
) -> None:
    model = model_of("demo")
    groups, weights = find_groups(model), shrink.read_weights(model)
    data = some_data((8, 8, 1))
    trainer = Trainer(ElasticNetwork(model, groups), data, batch=16)
    for seed in range(3):
        cut = shrink.slice_weights(weights, groups, random_keep(groups, seed))
        trained = trainer.train(Checkpoint(cut), Schedule(1e-3, 2, False), seed=seed)
        trainer.score(trained.weights, data.holdout)
        assert {p: v.shape for p, v in trained.weights.items()} == {
            p: v.shape for p, v in cut.items()
        }
    assert trainer.traces == {"step": 1, "update": 1, "inference": 1}


def test_dropout_follows_the_seed(randomise: Callable[..., keras.Model]) -> None:
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3, activation="relu")(image)
    x = layers.SpatialDropout2D(0.3)(x)
    x = layers.Dropout(0.5)(layers.Dense(20)(layers.Flatten()(x)))
    model = randomise(keras.Model(image, layers.Dense(10)(x)))
    groups, weights = find_groups(model), shrink.read_weights(model)
    elastic = ElasticNetwork(model, groups)
    assert len(elastic.seeds) == 2
    trainer = Trainer(elastic, some_data((8, 8, 1)), batch=8)

    def train(seed: int) -> Checkpoint:
        return trainer.train(Checkpoint(weights), Schedule(1e-3, 3, False), seed=seed)

    def all_equal(one: Checkpoint, other: Checkpoint) -> bool:
        return all(np.array_equal(one.weights[p], other.weights[p]) for p in weights)

    assert all_equal(train(1), train(1))
    assert not all_equal(train(1), train(2))
    x = np.ones((4, 8, 8, 1), np.float32)
    values = [apply(elastic, weights, x, training=True) for _ in range(2)]
    assert np.array_equal(values[0][0][0], values[1][0][0])
    moved = weights | values[0][1]
    assert not np.array_equal(apply(elastic, moved, x, training=True)[0][0], values[0][0][0])
