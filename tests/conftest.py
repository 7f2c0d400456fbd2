"""TensorFlow set up once for a whole run, and the bundled network with its examples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from adapt.network.load import Network
    from adapt.training.data import Data
    from adapt.training.finetune import Trainer

BATCH = 32


def pytest_collection_finish() -> None:
    """Pin TensorFlow's threads, where a collected test uses it: later than any test is too late."""
    if "tensorflow" in sys.modules:
        from adapt.training.finetune import pin_threads

        pin_threads(1)


@pytest.fixture(scope="session")
def digits_network() -> Network:
    """The bundled network."""
    from adapt.demo import MODEL
    from adapt.network.load import load_network

    return load_network(MODEL)


@pytest.fixture(scope="session")
def digits_data() -> Data:
    """The bundled digits: 1212 examples to train on, 135 held out, 450 to test."""
    from adapt.training.data import DataOptions, load_data

    return load_data("adapt.demo:digits", (8, 8, 1), 10, DataOptions())


@pytest.fixture(scope="session")
def digits_trainer(digits_network: Network, digits_data: Data) -> Trainer:
    """Trains the bundled network; traced once for all tests."""
    from adapt.network.elastic import ElasticNetwork
    from adapt.training.finetune import Trainer

    network = ElasticNetwork(digits_network.model, digits_network.groups)
    return Trainer(network, digits_data, batch=BATCH)
