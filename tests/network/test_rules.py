"""Layers that no rule covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network.groups import find_groups
from adapt.network.rules import followed_kinds

Chain = Callable[..., keras.Model]


def add_row(x: Any) -> Any:
    return x + np.arange(8, dtype=np.float32)


class Add(layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Mixes channels in spite of its name."""

    def call(self, x: Any) -> Any:
        return keras.ops.flip(x, -1)


def mean_free(x: Any) -> Any:
    return x - keras.ops.mean(x, -1, keepdims=True)


UNSUPPORTED: dict[str, tuple[Callable[[], Any], str]] = {
    "UnitNormalization": (lambda: layers.UnitNormalization(), "no rule for UnitNormalization"),
    "channels first": (
        lambda: layers.AveragePooling2D(2, 1, "same", data_format="channels_first"),
        "channels come first",
    ),
    "Lambda": (lambda: layers.Lambda(lambda x: x * 2), "no rule for Lambda"),
    "nested": (lambda: keras.Sequential([layers.Conv2D(8, 1)]), "no rule for Sequential"),
    "normalised rows": (
        lambda: layers.BatchNormalization(axis=1), "normalises an axis other than the last",
    ),
    "own activation": (
        lambda: layers.Activation(mean_free),
        "no rule for the activation mean_free of custom code",
    ),
    "gated": (lambda: layers.Activation("glu"), "no rule for the activation glu"),
    "own class": (lambda: Add(), "no rule for Add"),
    "constant": (lambda: add_row, "a constant for each channel"),
    "noise": (
        lambda: layers.Dropout(0.5, noise_shape=(None, 1, 1, 8)),
        "its noise has a fixed number of channels",
    ),
    "attention": (
        lambda: lambda x: layers.Attention()([x, x]), "no rule for Attention",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_layer_is_named_and_the_rest_still_shrinks(chain: Chain, case: str) -> None:
    make, reason = UNSUPPORTED[case]
    model = chain(
        layers.Conv2D(6, 1, name="before"),
        layers.Conv2D(8, 1, name="frozen"),
        make(),
        layers.Conv2D(5, 1, name="after"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    )
    groups = find_groups(model)
    assert [whole.reason for whole in groups.kept_whole] == [reason]
    assert groups.widths == {"before": 6, "after": 5}


def test_layers_with_further_weights_are_kept_whole(chain: Chain) -> None:
    dense = [layers.Dense(width) for width in (6, 8, 5, 3)]
    model = chain(layers.Flatten(), *dense)
    dense[1].enable_lora(2)
    dense[2].quantize("int8")
    groups = find_groups(model)
    assert {whole.reason for whole in groups.kept_whole} == {
        "its weights have a low-rank addition",
        "its weights are quantised",
    }
    assert groups.widths == {}


def test_kinds_are_sorted_and_known_to_keras() -> None:
    kinds = followed_kinds()
    assert list(kinds) == sorted(set(kinds))
    of_applications = {"LayerScale", "StochasticDepth"}
    assert all(hasattr(layers, kind) for kind in set(kinds) - of_applications)
