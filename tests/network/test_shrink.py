"""A shrunk network computes what the original does when nothing listens to the removed filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import graph, shrink
from adapt.network.groups import ChannelGroups, find_groups

RandomKeep = Callable[..., dict[str, list[int]]]

# Axis of the input channels, from the end, in the first kernel that mixes channels.
CONSUMERS = {
    layers.Conv1D: ("kernel", -2),
    layers.Conv2D: ("kernel", -2),
    layers.Dense: ("kernel", -2),
    layers.Conv2DTranspose: ("kernel", -1),
    layers.SeparableConv2D: ("pointwise_kernel", -2),
}


def without_consumers(
    model: keras.Model, groups: ChannelGroups, keep: dict[str, list[int]]
) -> shrink.Weights:
    """Weights of the original where nothing listens to the removed filters."""
    kept = groups.kept(keep)
    weights = shrink.read_weights(model)
    uses = {(use.variable, use.axis): use.filters for use in groups.uses}
    for call in graph.calls(model):
        if type(call.operation) not in CONSUMERS:
            continue
        attribute, axis = CONSUMERS[type(call.operation)]
        kernel = getattr(call.operation, attribute)
        variables = graph.variables(call.operation)
        place = call.name, next(i for i, v in enumerate(variables) if v is kernel)
        filters = uses.get((place, axis % len(kernel.shape)))
        if filters is None:  # Kept whole: nothing that it listens to is removed.
            continue
        shape = [1] * len(kernel.shape)
        shape[axis] = len(filters)
        weights[place] = weights[place] * kept[filters].reshape(shape)
    return weights


def assert_same_function(model: keras.Model, keep: dict[str, list[int]]) -> None:
    groups = find_groups(model)
    original = shrink.read_weights(model)
    x = np.random.default_rng(2).random((2, *model.inputs[0].shape[1:]), np.float32)
    smaller = shrink.build(model, groups, {name: len(kept) for name, kept in keep.items()})
    shrink.write_weights(smaller, shrink.slice_weights(original, groups, keep))
    try:
        shrink.write_weights(model, without_consumers(model, groups, keep))
        expected = model(x, training=False).numpy()
    finally:
        shrink.write_weights(model, original)
    np.testing.assert_allclose(
        smaller(x, training=False).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
    assert smaller.count_params() < model.count_params()


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


def whole(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(6, 1)(layers.Conv2D(7, 1)(x)))
    x = layers.Lambda(lambda t: t * 2)(layers.Conv2D(8, 3, groups=2)(x))
    return layers.Flatten()(layers.Conv2D(5, 1)(x))


SMALL = [concatenation, gate, multiplier, transposed, reshapes, shared, operations, whole]


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
    model = chain(layers.Conv2D(6, 1), layers.Conv2D(8, 1), layers.Conv2D(8, 3, groups=2))
    groups = find_groups(model)
    smaller = shrink.build(model, groups, {group.name: 1 for group in groups.groups})
    (whole,) = groups.kept_whole
    assert smaller.get_layer(whole.layer).kernel.shape == (3, 3, 4, 8)


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
