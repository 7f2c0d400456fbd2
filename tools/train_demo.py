"""Trains the bundled demo network on the bundled digits and saves adapt/demo/digits.keras.

    python tools/train_demo.py [OUTPUT]

A minute on two cores. The network has what the groups have to follow: a residual block of
ordinary convolutions, one of depthwise convolutions, batch normalisation, and a dense layer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
from keras import layers

from adapt.demo import MODEL, digits_arrays


def _conv(x: keras.KerasTensor, filters: int, size: int, relu: bool = True) -> keras.KerasTensor:
    x = layers.Conv2D(filters, size, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if relu else x


def _depthwise(x: keras.KerasTensor, stride: int = 1) -> keras.KerasTensor:
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def build() -> keras.Model:
    """The untrained network: 8x8x1 images in, probabilities of ten digits out."""
    image = keras.Input((8, 8, 1), name="image")
    x = _conv(image, 32, 3)
    x = layers.ReLU()(layers.Add()([x, _conv(_conv(x, 32, 3), 32, 3, relu=False)]))
    x = _conv(_depthwise(x, stride=2), 64, 1)
    x = layers.ReLU()(layers.Add()([x, _conv(_depthwise(_conv(x, 96, 1)), 64, 1, relu=False)]))
    x = layers.ReLU()(layers.Add()([x, _conv(_conv(x, 64, 3), 64, 3, relu=False)]))
    x = layers.GlobalAveragePooling2D()(_conv(x, 96, 1))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x), name="digits")


def main() -> None:
    """Train and save."""
    keras.utils.set_random_seed(1)
    x_train, y_train, x_test, y_test = digits_arrays()
    model = build()
    schedule = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=60 * (len(x_train) // 64))
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=1e-4),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x_train, y_train, batch_size=64, epochs=60, verbose=2)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else MODEL
    bare = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    bare.set_weights(model.get_weights())
    bare.save(output)  # Without the optimiser, which would triple the size.
    print(f"{output}: test accuracy {accuracy:.4f}, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
