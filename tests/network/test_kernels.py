"""The kernels of a network at any widths are the operators that the converter emits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.errors import InputError
from adapt.network import shrink
from adapt.network.export import to_tflite
from adapt.network.groups import find_groups
from adapt.network.kernels import KernelTemplate
from adapt.network.load import Network
from adapt.tflite.layout import FileLayout
from adapt.tflite.reader import read_kernels, read_model

NetworkOf = Callable[..., Network]
RandomKeep = Callable[..., dict[str, list[int]]]

# The file of a network with single filters may be smaller than predicted by this share.
SINGLE_FILTERS = 0.02


def shrunk(network: Network, keep: dict[str, list[int]]) -> keras.Model:
    return network.shrunk(keep, shrink.slice_weights(network.weights, network.groups, keep))


def assert_predicted(network: Network, keep: dict[str, list[int]]) -> None:
    """Kernels and counts at the widths of `keep` are those of the network that it leaves."""
    model = shrunk(network, keep)
    content = network.to_tflite(model)
    widths = {name: len(kept) for name, kept in keep.items()}
    expected = [kernel.text for kernel in read_kernels(content)]
    assert [kernel.text for kernel in network.kernels(widths)] == expected
    counts = network.counts(widths)
    assert counts["params"] == model.count_params()
    assert counts["memory"] == peak_by_intervals(content)
    if all(width > 1 for name, width in widths.items() if network.widths[name] > 1):
        assert counts["size"] == len(content)
    else:
        assert len(content) <= counts["size"] <= (1 + SINGLE_FILTERS) * len(content)


def peak_by_intervals(content: bytes) -> int:
    """Most bytes alive at once: each activation lives from its first to its last operator."""
    graph = read_model(content)
    count = len(graph.operators)
    first = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = {}
    for number, node in enumerate(graph.operators):
        first.update(dict.fromkeys(node.outputs, number))
        last.update(dict.fromkeys((*node.inputs, *node.outputs), number))
    last.update(dict.fromkeys(graph.outputs, count - 1))
    alive = np.zeros(count, np.int64)
    for tensor, start in first.items():
        alive[start : last[tensor] + 1] += graph.tensors[tensor].nbytes
    return int(alive.max())


KEEPS: dict[str, Callable[[Network, RandomKeep], dict[str, list[int]]]] = {
    "random": lambda network, keep: keep(network.groups, 11, least=2),
    "other": lambda network, keep: keep(network.groups, 12, least=2),
    "with ones": lambda network, keep: (
        keep(network.groups, 13) | {group.name: [0] for group in network.groups.groups[::3]}
    ),
    "all ones": lambda network, keep: {group.name: [0] for group in network.groups.groups},
}


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("name", ["demo", "resnet8", "mobilenet", "mobilenet_v2"])
def test_float_kernels_equal_the_converters(
    network_of: NetworkOf, random_keep: RandomKeep, name: str, keep: str
) -> None:
    network = network_of(name)
    assert_predicted(network, KEEPS[keep](network, random_keep))


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("name", ["demo", "resnet8"])
def test_int8_kernels_equal_the_converters(
    network_of: NetworkOf, random_keep: RandomKeep, name: str, keep: str
) -> None:
    network = network_of(name, int8=True)
    assert {kernel.dtype for kernel in network.kernels({})} == {"int8"}
    assert_predicted(network, KEEPS[keep](network, random_keep))


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_unshrunk_network(network_of: NetworkOf, int8: bool) -> None:
    network = network_of("resnet8", int8=int8)
    content = network.to_tflite(network.model)
    assert [k.text for k in network.kernels({})] == [k.text for k in read_kernels(content)]
    assert network.counts({})["size"] == len(content)
    assert network.counts({})["params"] == network.model.count_params()


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_each_file_tells_the_size_of_every_other(
    network_of: NetworkOf, random_keep: RandomKeep, int8: bool
) -> None:
    network = network_of("demo", int8=int8)
    files = []
    for seed in range(5):
        content = network.to_tflite(shrunk(network, random_keep(network.groups, seed, least=2)))
        files.append((content, [edge.tensor for edge in read_model(content).tensors]))
    for content, tensors in files:
        layout = FileLayout(content, tensors)
        assert [layout.size(other) for _, other in files] == [len(other) for other, _ in files]


def gate(x: Any) -> Any:
    x = layers.Concatenate()([layers.Conv2D(4, 3)(x), layers.Conv2D(6, 3)(x)])
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Conv2D(10, 1, activation="sigmoid")(layers.Conv2D(3, 1, activation="relu")(s))
    return layers.Flatten()(layers.Multiply()([x, s]))


def transposed(x: Any) -> Any:
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(layers.Conv2D(5, 3)(x))
    return layers.GlobalAveragePooling2D()(layers.ZeroPadding2D()(layers.UpSampling2D()(x)))


def rows(x: Any) -> Any:
    x = layers.Reshape((64, 6))(layers.Conv2D(6, 3, padding="same", activation="relu6")(x))
    return layers.GlobalMaxPooling1D()(layers.Conv1D(5, 3, padding="causal", strides=2)(x))


def whole(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(6, 1)(layers.Conv2D(7, 1)(x)))
    return layers.Flatten()(layers.Conv2D(5, 1)(layers.Conv2D(8, 3, groups=2)(x)))


@pytest.mark.parametrize("block", [gate, transposed, rows, whole], ids=lambda b: b.__name__)
def test_small_networks(
    randomise: Callable[..., keras.Model], random_keep: RandomKeep, block: Callable[[Any], Any]
) -> None:
    image = keras.Input((8, 8, 3))
    head = layers.Dense(4, activation="softmax")
    model = randomise(keras.Model(image, head(layers.Dense(9)(block(image)))))
    network = Network(model)
    for seed in (0, 1):
        assert_predicted(network, random_keep(network.groups, seed, least=2))


def test_equal_constants_do_not_matter(randomise: Callable[..., keras.Model]) -> None:
    # The depthwise halves have no bias: zeros, of one length here and of several in trials.
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 1)(image)
    for _ in range(3):
        x = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    model = keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    network = Network(randomise(model))
    for width in (6, 3):
        keep = {name: list(range(width)) for name in network.widths}
        content = network.to_tflite(shrunk(network, keep))
        kernels = network.kernels(dict.fromkeys(keep, width))
        assert [kernel.text for kernel in kernels] == [k.text for k in read_kernels(content)]
        assert len(content) <= network.counts(dict.fromkeys(keep, width))["size"]


def test_equal_networks_have_equal_kernels_whatever_their_weights(
    randomise: Callable[..., keras.Model], chain: Callable[..., keras.Model]
) -> None:
    model = chain(layers.Conv2D(6, 3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3))
    one = [k.text for k in Network(randomise(model, seed=1)).kernels({})]
    other = [k.text for k in Network(randomise(model, seed=2)).kernels({})]
    assert one == other


def test_network_without_groups(chain: Callable[..., keras.Model]) -> None:
    network = Network(chain(layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()))
    assert network.widths == {}
    assert [kernel.op for kernel in network.kernels({})] == ["CONV_2D", "MEAN"]


def test_groups_of_one_filter_stay(randomise: Callable[..., keras.Model]) -> None:
    # For an addition of 1 x 1 pixels, the converter reshapes operands of several channels; these
    # have one, whatever the widths of others.
    image = keras.Input((1, 1, 3))
    a = layers.Conv2D(1, 1)(image)
    x = layers.Flatten()(layers.Add()([a, layers.Conv2D(1, 1)(a)]))
    network = Network(randomise(keras.Model(image, layers.Dense(3)(layers.Dense(5)(x)))))
    assert sorted(network.widths.values()) == [1, 5]
    assert_predicted(network, {name: list(range(min(w, 2))) for name, w in network.widths.items()})


def test_operators_that_depend_on_the_widths_are_refused(
    chain: Callable[..., keras.Model],
) -> None:
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(3, 3))

    def convert(network: keras.Model) -> bytes:
        if network.layers[1].filters == 4:
            return to_tflite(network)
        return to_tflite(keras.Model(network.input, keras.ops.tanh(network.output)))

    with pytest.raises(InputError, match="depend on its widths"):
        KernelTemplate(model, find_groups(model), convert)


def test_peak_of_a_residual_block(randomise: Callable[..., keras.Model]) -> None:
    image = keras.Input((8, 8, 2))
    trunk = layers.Conv2D(4, 1, name="trunk")(image)
    branch = layers.Conv2D(16, 3, padding="same", name="branch")(trunk)
    branch = layers.Conv2D(4, 3, padding="same")(branch)
    x = layers.GlobalAveragePooling2D()(layers.Add()([branch, trunk]))
    network = Network(randomise(keras.Model(image, layers.Dense(3)(x))))
    pixel = 8 * 8 * 4
    # While the second convolution of the branch runs: trunk, its input and its output.
    assert network.counts({})["memory"] == pixel * (4 + 16 + 4)
    assert network.counts({"branch": 5})["memory"] == pixel * (4 + 5 + 4)
    # While the addition runs.
    assert network.counts({"branch": 3})["memory"] == pixel * (4 + 4 + 4)


def test_macs_follow_the_widths(network_of: NetworkOf) -> None:
    network = network_of("resnet8")
    first = network.groups.groups[0]
    (full, *_), (half, *_) = network.kernels({}), network.kernels({first.name: first.width // 2})
    assert math.prod(half.outputs[0].shape) * 2 == math.prod(full.outputs[0].shape)
