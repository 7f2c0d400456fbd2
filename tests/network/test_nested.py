"""Models within models, in place of their calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import graph
from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.network.nested import core, flat
from tests.network import checks
from tests.network.proof import difference, random_inputs, random_keep, randomise


def backbone(width: int = 6) -> keras.Model:
    x = image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(width, 3, name="conv")(x))
    stem = keras.Sequential([keras.Input((6, 6, width)), layers.Conv2D(5, 1, name="conv")])
    return keras.Model(image, layers.GlobalAveragePooling2D()(stem(x)), name="backbone")


def siamese() -> keras.Model:
    """Two inputs through one nested model, and an output for each and for both."""
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    shared = backbone()
    a, b = shared(left), shared(right)
    distance = layers.Dense(2)(keras.ops.square(a - b))
    return keras.Model([left, right], [distance, layers.Dense(3)(a)])


def outputs(model: keras.Model, x: Any, training: bool = False) -> list[np.ndarray]:
    flat_outputs = keras.tree.flatten(model(x, training=training))
    return [np.asarray(y) for y in flat_outputs]


def assert_same(model: keras.Model, other: keras.Model) -> None:
    x = random_inputs(model)
    for a, b in zip(outputs(model, x), outputs(other, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_without_nested_ones_keeps_its_layers(chain: Callable[..., keras.Model]) -> None:
    model = chain(layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2))
    assert flat(model).layers == model.layers


def test_nested_models_vanish() -> None:
    image = keras.Input((8, 8, 3))
    model = randomise(keras.Model(image, layers.Dense(2)(backbone()(image)), name="outer"))
    plain = flat(model)
    assert plain.name == "outer"
    assert {core(call.operation) for call in graph.calls(plain)} == {None}
    names = [layer.name for layer in plain.layers]
    assert "backbone_conv" in names
    assert any(name.startswith("backbone_sequential") for name in names)
    assert_same(model, plain)
    groups = find_groups(plain)
    assert groups.kept_whole == ()
    assert sorted(groups.widths.values()) == [5, 6]


def test_a_shared_nested_model_stays_shared() -> None:
    model = randomise(siamese())
    plain = flat(model)
    assert plain.count_params() == model.count_params()
    assert_same(model, plain)


def test_several_inputs_and_outputs() -> None:
    network = Network(randomise(siamese()))
    assert sorted(network.widths.values()) == [5, 6]
    keep = random_keep(network.groups, 1, least=2)
    assert difference(network.model, keep) < checks.EXACT
    assert checks.kernels_agree(network, keep)
    model, content = checks.converted(network, keep)
    x = random_inputs(model, batch=1)
    for got, wanted in zip(
        sorted(checks.run(content, x), key=np.size),
        sorted(outputs(model, x), key=np.size),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_int8_of_several_inputs() -> None:
    rng = np.random.default_rng(0)
    samples = [[rng.random((1, 8, 8, 3), np.float32) for _ in range(2)] for _ in range(3)]
    network = Network(randomise(siamese()), quantized_samples=samples)
    assert {kernel.dtype for kernel in network.kernels({})} == {"int8"}
    assert checks.kernels_agree(network, random_keep(network.groups, 1, least=2))


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_structures_become_lists(structure: str) -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    y, z = layers.Dense(3)(a), layers.Dense(2)(b)
    given = [[a, b], [y, z]] if structure == "list" else [{"a": a, "b": b}, {"y": y, "z": z}]
    plain = flat(keras.Model(*given))
    x = random_inputs(plain)
    assert [out.shape for out in outputs(plain, x)] == [(2, 3), (2, 2)]


@pytest.mark.parametrize("said", [None, False, True])
def test_training_is_what_the_call_of_the_nested_model_says(said: bool | None) -> None:
    image = keras.Input((8, 8, 3))
    model = randomise(keras.Model(image, backbone()(image, training=said)))
    plain = flat(model)
    x = random_inputs(model)
    state = model.get_weights()
    for training in (False, True):
        plain.set_weights(state)
        model.set_weights(state)
        expected = outputs(model, x, training)
        np.testing.assert_allclose(outputs(plain, x, training)[0], expected[0], atol=1e-6)


def test_frozen_layers_stay_frozen() -> None:
    inner = backbone()
    inner.trainable = False
    image = keras.Input((8, 8, 3))
    plain = flat(keras.Model(image, layers.Dense(2)(inner(image))))
    assert len(plain.trainable_variables) == 2


def test_layers_of_one_name() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 1, name="backbone_conv")(image)
    model = keras.Model(image, backbone()(x))
    names = [layer.name for layer in flat(model).layers]
    assert len(set(names)) == len(names)
    assert "backbone_conv_2" in names
