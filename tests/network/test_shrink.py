"""A shrunk network computes what the original does when nothing listens to the removed filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.groups import find_groups
from tests.network.proof import difference

RandomKeep = Callable[..., dict[str, list[int]]]


def assert_same_function(model: keras.Model, keep: dict[str, list[int]]) -> None:
    assert difference(model, keep) < 1e-5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["demo", "resnet8", "mobilenet", "mobilenet_v2"])
def test_real_networks(
    model_of: Callable[[str], keras.Model], random_keep: RandomKeep, name: str, seed: int
) -> None:
    model = model_of(name)
    assert_same_function(model, random_keep(find_groups(model), seed))


def concatenation(x: Any) -> Any:
    a, b = layers.Conv2D(6, 3)(x), layers.Conv2D(4, 3, activation="tanh")(x)
    x = layers.Concatenate()([a, layers.MaxPooling2D(3, 1, "same")(b), a])
    return layers.Flatten()(layers.BatchNormalization()(x))


def gate(x: Any) -> Any:
    trunk = layers.Conv2D(8, 3)(x)
    s = layers.Dense(3, activation="relu")(layers.GlobalAveragePooling2D()(trunk))
    s = layers.Dense(8, activation="sigmoid")(s)
    spatial = layers.Conv2D(1, 1)(trunk)
    return layers.GlobalMaxPooling2D()(layers.Multiply()([trunk, s, spatial]))


def multiplier(x: Any) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.Conv2D(6, 1)(x))
    return layers.Flatten()(layers.SeparableConv2D(7, 3, depth_multiplier=2)(x))


def transposed(x: Any) -> Any:
    x = layers.Conv2DTranspose(6, 3, strides=2)(layers.Conv2D(5, 3)(x))
    return layers.GlobalAveragePooling2D()(layers.PReLU()(layers.UpSampling2D()(x)))


def reshapes(x: Any) -> Any:
    x = layers.Reshape((-1, 6))(layers.Conv2D(6, 3)(x))
    x = layers.Conv1D(8, 3, padding="causal")(layers.PReLU(shared_axes=[1])(x))
    return layers.Reshape((-1,))(x)


def shared(x: Any) -> Any:
    block = layers.Conv2D(6, 3, padding="same", activation="relu")
    return layers.Flatten()(block(block(layers.Conv2D(6, 1)(x))))


def operations(x: Any) -> Any:
    a, b = layers.Conv2D(6, 1)(x), layers.Conv2D(6, 1)(x)
    return layers.Flatten()((a + 3.0) * b - 0.5)


def convolution_groups(x: Any) -> Any:
    x = layers.Conv2D(12, 3, groups=6)(layers.Conv2D(12, 1)(x))
    return layers.Flatten()(layers.Conv2D(15, 3, groups=3, activation="tanh")(x))


def norms(x: Any) -> Any:
    x = layers.GroupNormalization(4)(layers.Conv2D(12, 1)(x))
    x = layers.LayerNormalization()(layers.Conv2D(6, 1)(x))
    x = layers.GroupNormalization(1)(layers.Conv2D(7, 1)(x))
    return layers.Flatten()(layers.LayerNormalization(axis=[1, 2, 3])(x))


def slices(x: Any) -> Any:
    x = layers.Conv2D(9, 3)(x)
    a, b, c = x[..., :4], x[..., 4:7], x[..., -2:]
    d, e, f = keras.ops.split(layers.Conv2D(9, 3)(x), 3, axis=-1)
    g, h = keras.ops.split(layers.Conv2D(7, 3)(x), [2], axis=-1)
    x = layers.Concatenate()([a, layers.ReLU()(b)])
    y = layers.Concatenate()([d * e, f, layers.Conv2D(3, 1)(h), g])
    parts = [layers.Flatten()(t) for t in (x[:, ::2], y, layers.Conv2D(4, 1)(c))]
    return layers.Concatenate()(parts)


def heads(x: Any) -> Any:
    x = layers.Reshape((-1, 6))(layers.Conv2D(6, 3, strides=3)(x))
    other = layers.Dense(5)(x)
    x = layers.MultiHeadAttention(4, 3, value_dim=2)(x, other)
    x = layers.MultiHeadAttention(3, 2, output_shape=7, use_bias=False)(other, x, key=other)
    x = layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")(x)
    return layers.GlobalAveragePooling1D()(x)


def decoder(x: Any) -> Any:
    x = layers.Dense(3 * 3 * 4)(layers.GlobalAveragePooling2D()(layers.Conv2D(6, 1)(x)))
    x = layers.Conv2D(5, 2)(layers.Reshape((3, 3, 4))(x))
    x = layers.RepeatVector(3)(layers.Flatten()(x))
    return layers.Flatten()(layers.Permute((1, 2))(x))


def broadcasts(x: Any) -> Any:
    x = layers.Conv2D(6, 1)(x)
    row = keras.ops.mean(x, axis=(1, 2), keepdims=True)
    one = layers.Conv2D(1, 1)(x)
    x = layers.Subtract()([x, row]) / (keras.ops.square(row) + 1.0)
    return layers.Flatten()(keras.ops.relu(x * one) - one)


def functions(x: Any) -> Any:
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 1)(x))
    x = keras.ops.squeeze(keras.ops.expand_dims(keras.ops.sigmoid(x), 1), 1)
    x = keras.ops.transpose(keras.ops.clip(x, 0.2, 0.8), (0, 2, 1, 3))
    return layers.Flatten()(keras.ops.softmax(x, axis=1))


def whole(x: Any) -> Any:
    x = layers.UnitNormalization()(layers.Conv2D(6, 1)(layers.Conv2D(7, 1)(x)))
    x = layers.Lambda(lambda t: t * 2)(layers.Conv2D(8, 3)(x))
    return layers.Flatten()(layers.Conv2D(5, 1)(x))


SMALL = [
    concatenation, gate, multiplier, transposed, reshapes, shared, operations, convolution_groups,
    norms, slices, heads, decoder, broadcasts, functions, whole,
]  # fmt: skip


@pytest.mark.parametrize("block", SMALL, ids=lambda block: block.__name__)
def test_small_networks(
    randomise: Callable[..., keras.Model], random_keep: RandomKeep, block: Callable[[Any], Any]
) -> None:
    image = keras.Input((10, 10, 3))
    model = randomise(keras.Model(image, layers.Dense(4)(layers.Dense(9)(block(image)))))
    keep = random_keep(find_groups(model), 4)
    assert any(len(keep[g.name]) < g.width for g in find_groups(model).groups)
    assert_same_function(model, keep)


def test_layers_kept_whole_keep_their_shapes(chain: Callable[..., keras.Model]) -> None:
    model = chain(layers.Conv2D(6, 1), layers.Conv2D(8, 1), layers.Conv2D(8, 3))
    model.layers[-1].enable_lora(2)
    groups = find_groups(model)
    smaller = shrink.build(model, groups, {group.name: 1 for group in groups.groups})
    (whole,) = groups.kept_whole
    assert smaller.get_layer(whole.layer).kernel.shape == (3, 3, 8, 8)


@pytest.mark.parametrize("name", ["demo", "resnet8"])
def test_two_stages_equal_one(
    model_of: Callable[[str], keras.Model], random_keep: RandomKeep, name: str
) -> None:
    model = model_of(name)
    groups, weights = find_groups(model), shrink.read_weights(model)
    first = random_keep(groups, 0, least=4)
    rng = np.random.default_rng(1)
    second = {
        name: sorted(rng.choice(kept, len(kept) // 2 + 1, replace=False).tolist())
        for name, kept in first.items()
    }
    once = shrink.slice_weights(weights, groups, second)
    halfway = shrink.slice_weights(weights, groups, first)
    twice = shrink.slice_weights(halfway, groups, second, current=first)
    assert once.keys() == twice.keys() == weights.keys()
    for place, value in once.items():
        np.testing.assert_array_equal(twice[place], value)
    assert any(once[p].size < halfway[p].size < weights[p].size for p in weights)


def test_the_order_of_the_kept_positions_does_not_matter(
    model_of: Callable[[str], keras.Model],
) -> None:
    model = model_of("demo")
    groups, weights = find_groups(model), shrink.read_weights(model)
    name = groups.groups[0].name
    sliced = [shrink.slice_weights(weights, groups, {name: k}) for k in ([1, 5, 9], [9, 1, 5])]
    for place in weights:
        np.testing.assert_array_equal(sliced[0][place], sliced[1][place])


def test_slicing_leaves_the_given_weights_alone(model_of: Callable[[str], keras.Model]) -> None:
    model = model_of("demo")
    groups, weights = find_groups(model), shrink.read_weights(model)
    before = {place: value.copy() for place, value in weights.items()}
    shrink.slice_weights(weights, groups, {g.name: [0] for g in groups.groups})
    assert all(np.array_equal(weights[place], before[place]) for place in before)


def test_networks_can_be_built_wider(model_of: Callable[[str], keras.Model]) -> None:
    model = model_of("demo")
    groups = find_groups(model)
    wider = shrink.build(model, groups, {g.name: g.width + 3 for g in groups.groups})
    assert wider.count_params() > model.count_params()
    assert wider(np.zeros((1, *model.inputs[0].shape[1:]), np.float32)).shape == (1, 10)


def test_weights_that_do_not_fit_are_refused(model_of: Callable[[str], keras.Model]) -> None:
    model = model_of("demo")
    groups = find_groups(model)
    smaller = shrink.build(model, groups, {groups.groups[0].name: 3})
    with pytest.raises(ValueError, match="shape"):
        shrink.write_weights(smaller, shrink.read_weights(model))


def test_names_and_settings_stay(model_of: Callable[[str], keras.Model]) -> None:
    model = model_of("mobilenet_v2")
    groups = find_groups(model)
    copy = shrink.build(model, groups, {})
    assert copy.name == model.name
    assert [layer.get_config() for layer in copy.layers] == [
        layer.get_config() for layer in model.layers
    ]
