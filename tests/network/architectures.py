"""Networks as people use them, each in full and, where there is one, in a small edition.

The small editions have the same kinds of layers, so that most faults show within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import applications, layers

__all__ = ["ARCHITECTURES", "Architecture"]

CLASSES = 10


@dataclass(frozen=True)
class Architecture:
    """A way to make a network; `pixels` is the side of its square input."""

    name: str
    full: Callable[[], keras.Model]
    small: Callable[[], keras.Model] | None = None


def resnet(blocks: Sequence[int], width: int, pixels: int = 32) -> keras.Model:
    """A residual network of basic blocks, with 1x1 shortcuts where a stage begins."""
    x = image = keras.Input((pixels, pixels, 3))
    x = _conv(x, width, 3)
    for stage, count in enumerate(blocks):
        filters = width << stage
        for number in range(count):
            strides = 2 if stage and not number else 1
            y = _conv(x, filters, 3, strides)
            y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
            if strides > 1:
                x = layers.Conv2D(filters, 1, strides, padding="same")(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax")(x))


def _conv(x: Any, filters: int, size: int, strides: int = 1) -> Any:
    x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def unet(width: int, pixels: int = 32) -> keras.Model:
    """Segmentation: down by pooling, up by transposed convolutions and by up-sampling."""
    x = image = keras.Input((pixels, pixels, 3))
    skips = []
    for stage in range(3):
        x = _conv(_conv(x, width << stage, 3), width << stage, 3)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = _conv(x, width << 3, 3)
    for stage in reversed(range(3)):
        if stage == 1:
            x = layers.Conv2D(width << stage, 2, padding="same")(layers.UpSampling2D()(x))
        else:
            x = layers.Conv2DTranspose(width << stage, 2, strides=2)(x)
        x = _conv(layers.Concatenate()([x, skips[stage]]), width << stage, 3)
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax")(x))


def detector(width: int, pixels: int = 64) -> keras.Model:
    """Boxes and classes from two scales of a depthwise backbone, as SSD has them."""
    x = image = keras.Input((pixels, pixels, 3))
    x = _conv(x, width, 3, 2)
    scales = []
    for stage in (1, 2, 3):
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.DepthwiseConv2D(3, 2, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = _conv(x, width << stage, 1)
        scales.append(x)
    anchors, boxes, classes = 3, [], []
    for x in scales[1:]:
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(4 * anchors, 3, padding="same")(x)))
        y = layers.SeparableConv2D(CLASSES * anchors, 3, padding="same")(x)
        classes.append(layers.Reshape((-1, CLASSES))(y))
    scores = layers.Softmax()(layers.Concatenate(axis=1)(classes))
    return keras.Model(image, [layers.Concatenate(axis=1)(boxes), scores])


def vit(width: int, heads: int, blocks: int, pixels: int = 32) -> keras.Model:
    """A vision transformer; a depthwise convolution tells its tokens where they are."""
    x = image = keras.Input((pixels, pixels, 3))
    x = layers.Conv2D(width, 4, strides=4)(x)
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.Reshape((-1, width))(x)
    for _ in range(blocks):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.MultiHeadAttention(heads, width // heads)(y, y)
        x = layers.Add()([x, y])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dropout(0.1)(layers.Dense(2 * width, activation="gelu")(y))
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax")(x))


def _application(name: str, pixels: int, **settings: Any) -> Callable[[], keras.Model]:
    def make() -> keras.Model:
        maker = getattr(applications, name)
        shape = (pixels, pixels, 3)
        return maker(input_shape=shape, weights=None, classes=CLASSES, **settings)

    return make


def _small(family: str, maker: str, pixels: int, **settings: Any) -> Callable[[], keras.Model]:
    """A member of a family that Keras does not export: its depths and widths are settings."""

    def make() -> keras.Model:
        module = getattr(keras.src.applications, family)
        shape = (pixels, pixels, 3)
        return getattr(module, maker)(input_shape=shape, weights=None, classes=CLASSES, **settings)

    return make


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture("ResNet-8", lambda: resnet((1, 1, 1), 16), lambda: resnet((1, 1, 1), 6)),
        Architecture(
            "ResNet-18", lambda: resnet((2, 2, 2, 2), 64), lambda: resnet((2, 1, 2), 5)
        ),
        Architecture("ResNet50", _application("ResNet50", 64)),
        Architecture(
            "MobileNetV1",
            _application("MobileNet", 64),
            _application("MobileNet", 32, alpha=0.25),
        ),
        Architecture(
            "MobileNetV2",
            _application("MobileNetV2", 64),
            _application("MobileNetV2", 32, alpha=0.35),
        ),
        Architecture(
            "MobileNetV3Small",
            _application("MobileNetV3Small", 64),
            _application("MobileNetV3Small", 32),
        ),
        Architecture("MobileNetV3Large", _application("MobileNetV3Large", 64)),
        Architecture("EfficientNetB0", _application("EfficientNetB0", 64)),
        Architecture(
            "EfficientNetV2B0",
            _application("EfficientNetV2B0", 64),
            _small("efficientnet_v2", "EfficientNetV2", 32, width_coefficient=0.3,
                   depth_coefficient=0.2, default_size=32, name="efficientnetv2-b0"),
        ),
        Architecture(
            "DenseNet121",
            _application("DenseNet121", 64),
            _small("densenet", "DenseNet", 64, blocks=[2, 2, 1, 1]),
        ),
        Architecture("InceptionV3", _application("InceptionV3", 96)),
        Architecture("Xception", _application("Xception", 96)),
        Architecture(
            "NASNetMobile",
            _application("NASNetMobile", 96),
            _small("nasnet", "NASNet", 64, penultimate_filters=96, num_blocks=1,
                   stem_block_filters=8, skip_reduction=False),
        ),
        Architecture(
            "ConvNeXtTiny",
            _application("ConvNeXtTiny", 64),
            _small("convnext", "ConvNeXt", 64, depths=[1, 1, 2, 1],
                   projection_dims=[8, 12, 16, 20]),
        ),
        Architecture("U-Net", lambda: unet(16, 64), lambda: unet(4)),
        Architecture("SSD-like, two heads", lambda: detector(32, 128), lambda: detector(6)),
        Architecture(
            "Vision transformer", lambda: vit(64, 8, 4, 64), lambda: vit(12, 4, 2, 16)
        ),
    )
}  # fmt: skip
