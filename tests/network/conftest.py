"""Networks to adapt, with weights as training leaves them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapt.telemetry import import_tensorflow

import_tensorflow()

import keras  # noqa: E402

from adapt.demo import MODEL  # noqa: E402
from adapt.network.load import Network, load_model  # noqa: E402
from tests.network.proof import random_keep, randomise  # noqa: E402

SHARED = Path(os.environ.get("ADAPT_SHARED") or Path(__file__).parents[3] / "shared")
SAMPLES = 4


def make_model(name: str) -> keras.Model:
    """One of the networks that the tests share; skips where its file is absent."""
    if name == "resnet8":
        path = SHARED / "models" / "resnet8_cifar10.h5"
        if not path.is_file():
            pytest.skip(f"no {path}; set ADAPT_SHARED")
        return load_model(path)
    if name == "demo":
        return load_model(MODEL)
    make, alpha = {
        "mobilenet": (keras.applications.MobileNet, 0.25),
        "mobilenet_v2": (keras.applications.MobileNetV2, 0.35),
    }[name]
    model = make(input_shape=(64, 64, 3), weights=None, alpha=alpha, classes=10)
    return randomise(model)


@pytest.fixture(scope="session", name="random_keep")
def _random_keep() -> Callable[..., dict[str, list[int]]]:
    return random_keep


@pytest.fixture(scope="session", name="randomise")
def _randomise() -> Callable[..., keras.Model]:
    return randomise


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], keras.Model]:
    """A shared network by name, made once."""
    made: dict[str, keras.Model] = {}

    def get(name: str) -> keras.Model:
        if name not in made:
            made[name] = make_model(name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def network_of(model_of: Callable[[str], keras.Model]) -> Callable[..., Network]:
    """A shared network with its kernels by name and precision, made once."""
    made: dict[tuple[str, bool], Network] = {}

    def get(name: str, *, int8: bool = False) -> Network:
        if (name, int8) not in made:
            model = model_of(name)
            samples = list(calibration(model)) if int8 else None
            made[name, int8] = Network(model, quantized_samples=samples)
        return made[name, int8]

    return get


def calibration(model: keras.Model) -> Iterator[np.ndarray]:
    """Inputs between 0 and 1."""
    rng = np.random.default_rng(5)
    for _ in range(SAMPLES):
        yield rng.random((1, *model.inputs[0].shape[1:]), np.float32)


@pytest.fixture
def chain() -> Callable[..., keras.Model]:
    """A functional model of layers one after the other."""

    def build(*layers: Any, shape: tuple[int, ...] = (8, 8, 3)) -> keras.Model:
        x = image = keras.Input(shape)
        for layer in layers:
            x = layer(x)
        return keras.Model(image, x)

    return build
