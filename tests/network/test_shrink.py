"""A shrunk network computes what the original does when nothing listens to the removed filters."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.groups import find_groups
from tests.network.blocks import BLOCKS
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


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
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


def test_models_that_were_built_are_let_go() -> None:
    image = keras.Input((8, 8, 3))
    x = keras.ops.relu((layers.Conv2D(4, 1)(image) + 3.0)[..., :2])
    model = keras.Model(image, layers.Conv2D(2, 1)(x))
    built = weakref.ref(shrink.build(model, find_groups(model), {}))
    gc.collect()
    assert built() is None
