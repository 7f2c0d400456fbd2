"""Small blocks, one for each way in which channels go on; from an image to a flat vector."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

__all__ = ["BLOCKS"]


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


BLOCKS = [
    concatenation, gate, multiplier, transposed, reshapes, shared, operations, convolution_groups,
    norms, slices, heads, decoder, broadcasts, functions, whole,
]  # fmt: skip
