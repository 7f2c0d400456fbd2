"""Random graphs of all that channels go through: what holds for architectures holds for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import layers, ops

from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.network.nested import flat
from tests.network import checks
from tests.network.elasticity import assert_elastic
from tests.network.proof import difference, random_keep, randomise

LONG = bool(os.environ.get("ADAPT_LONG"))

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Graph:
    """A model without nested ones, and its groups."""

    def __init__(self, model: keras.Model) -> None:
        self.model = flat(model)
        self.groups = find_groups(self.model)


class Maker:
    """Draws one layer after another on tensors [8, 8, channels] made so far."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._image = keras.Input((8, 8, 3))
        self._tensors = [self._conv(self._image), self._conv(self._image)]

    def model(self) -> keras.Model:
        """A network with one or two outputs that depend on the last tensors."""
        for _ in range(self._draw(st.integers(2, 9))):
            step = self._draw(st.sampled_from(self._steps))
            self._tensors.append(step(self))
        vector = layers.GlobalAveragePooling2D()(self._tensors[-1])
        outputs = [layers.Dense(3)(layers.Dense(self._count())(vector))]
        if self._draw(st.booleans()):
            outputs.append(layers.Dense(2)(layers.Flatten()(self._any())))
        return keras.Model(self._image, outputs)

    def _any(self) -> Any:
        return self._draw(st.sampled_from(self._tensors))

    def _count(self) -> int:
        return self._draw(st.integers(2, 7))

    def _like(self, x: Any) -> Any:
        """A tensor with as many channels as `x`: one of those there are, or a new one."""
        others = [t for t in self._tensors if t.shape == x.shape and t is not x]
        if others and self._draw(st.booleans()):
            return self._draw(st.sampled_from(others))
        return layers.Conv2D(x.shape[-1], 1)(self._any())

    def _conv(self, x: Any = None) -> Any:
        x = self._any() if x is None else x
        return layers.Conv2D(self._count(), 3, padding="same", activation="relu")(x)

    def _grouped(self) -> Any:
        groups, each = self._draw(st.sampled_from([(2, 4), (4, 2), (4, 1), (3, 3)]))
        x = layers.Conv2D(groups * each, 1)(self._any())
        filters = groups * self._draw(st.integers(1, 3))
        return layers.Conv2D(filters, 3, padding="same", groups=groups)(x)

    def _depthwise(self) -> Any:
        multiplier = self._draw(st.integers(1, 2))
        return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=multiplier)(self._any())

    def _separable(self) -> Any:
        return layers.SeparableConv2D(self._count(), 3, padding="same")(self._any())

    def _transposed(self) -> Any:
        return layers.Conv2DTranspose(self._count(), 3, padding="same")(self._any())

    def _norm(self) -> Any:
        x = self._any()
        groups = next(g for g in (4, 3, 2, 1) if x.shape[-1] % g == 0)
        norms = [
            layers.BatchNormalization,
            layers.LayerNormalization,
            lambda: layers.GroupNormalization(groups),
        ]
        return self._draw(st.sampled_from(norms))()(x)

    def _combine(self) -> Any:
        kinds = [layers.Add, layers.Multiply, layers.Subtract, layers.Maximum]
        x = self._any()
        return self._draw(st.sampled_from(kinds))()([x, self._like(x)])

    def _gate(self) -> Any:
        x = self._any()
        s = layers.GlobalAveragePooling2D(keepdims=True)(x)
        s = layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(
            layers.Conv2D(self._count(), 1, activation="relu")(s)
        )
        return layers.Multiply()([x, s])

    def _concatenate(self) -> Any:
        return layers.Concatenate()([self._any(), self._any()])

    def _slice(self) -> Any:
        x = self._any()
        start = self._draw(st.integers(0, x.shape[-1] - 1))
        stop = self._draw(st.integers(start + 1, x.shape[-1]))
        return x[..., start:stop]

    def _split(self) -> Any:
        x = self._any()
        if x.shape[-1] == 1:
            return self._conv(x)
        parts = ops.split(x, [1] if x.shape[-1] % 2 else 2, axis=-1)
        self._tensors.append(parts[0])
        return layers.Conv2D(self._count(), 1)(parts[1])

    def _attention(self) -> Any:
        x = self._any()
        tokens = layers.Reshape((64, x.shape[-1]))(x)
        tokens = layers.MultiHeadAttention(self._draw(st.integers(2, 3)), 2)(tokens, tokens)
        return layers.Reshape((8, 8, -1))(tokens)

    def _nested(self) -> Any:
        x, y = self._any(), None
        inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(self._count(), 1)])
        y = inner(x)
        return layers.Add()([y, inner(x)]) if self._draw(st.booleans()) else y

    def _shared(self) -> Any:
        x = self._any()
        block = layers.Conv2D(x.shape[-1], 3, padding="same")
        return block(layers.PReLU(shared_axes=[1, 2])(block(x)))

    def _pooled(self) -> Any:
        kind = self._draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
        return layers.UpSampling2D(2)(kind(2)(self._any()))

    def _strided(self) -> Any:
        narrow = layers.Conv2D(self._count(), 3, 2, padding="same")(self._any())
        return layers.Conv2DTranspose(self._count(), 2, 2)(narrow)

    def _padded(self) -> Any:
        return layers.Conv2D(self._count(), 3)(layers.ZeroPadding2D(1)(self._any()))

    def _perceptron(self) -> Any:
        x = self._any()
        y = layers.Dense(self._count(), activation="gelu")(layers.LayerNormalization()(x))
        return layers.Add()([x, layers.Dense(x.shape[-1])(y)])

    _steps = (
        _conv, _grouped, _depthwise, _separable, _transposed, _norm, _combine, _gate, _concatenate,
        _slice, _split, _attention, _nested, _shared, _pooled, _strided, _padded, _perceptron,
    )  # fmt: skip


def drawn(data: st.DataObject) -> keras.Model:
    return randomise(Maker(data.draw).model())


# Without making a failing example smaller: each takes a second.
few = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@settings(few, max_examples=500 if LONG else 12)
@given(st.data(), st.integers(0, 1000))
def test_shrunk_graphs_compute_what_the_originals_do(data: st.DataObject, seed: int) -> None:
    network = Graph(drawn(data))
    assert difference(network.model, random_keep(network.groups, seed)) < checks.EXACT


@settings(few, max_examples=100 if LONG else 3)
@given(st.data(), st.integers(0, 1000))
def test_kernels_of_graphs_are_the_converters(data: st.DataObject, seed: int) -> None:
    network = Network(drawn(data))
    assert checks.kernels_agree(network, random_keep(network.groups, seed, least=2))


@settings(few, max_examples=60 if LONG else 2)
@given(st.data(), st.integers(0, 1000))
def test_graphs_run_as_functions_of_their_weights(data: st.DataObject, seed: int) -> None:
    graph = Graph(drawn(data))
    assert_elastic(graph.model, random_keep(graph.groups, seed), training=False)
