"""Every architecture shrinks right, and its kernels at any widths are the converter's.

By default the small editions are tried, at few widths; with ADAPT_LONG=1 the networks themselves,
each at five random widths, and converted and run at half of their multiplications.
"""

from __future__ import annotations

import os

import keras
import pytest

from adapt.network import nested, shrink
from adapt.network.groups import find_groups
from adapt.network.load import Network
from adapt.tflite.reader import read_kernels
from tests.network.architectures import ARCHITECTURES
from tests.network.proof import difference, random_keep, randomise

LONG = bool(os.environ.get("ADAPT_LONG"))
QUICK_TO_CONVERT = ["U-Net", "SSD-like, two heads", "Vision transformer", "ConvNeXtTiny"]
SMALL = [name for name, architecture in ARCHITECTURES.items() if architecture.small]


def make(name: str) -> keras.Model:
    architecture = ARCHITECTURES[name]
    return randomise((architecture.full if LONG else architecture.small)())


@pytest.mark.parametrize("name", ARCHITECTURES if LONG else SMALL)
def test_shrunk_network_computes_what_the_original_does(name: str) -> None:
    model = nested.flat(make(name))
    for seed in range(5 if LONG else 1):
        assert difference(model, random_keep(find_groups(model), seed)) < 1e-5


@pytest.mark.parametrize("name", ARCHITECTURES if LONG else QUICK_TO_CONVERT)
def test_kernels_are_the_converters(name: str) -> None:
    network = Network(make(name))
    for seed in range(5 if LONG else 1):
        keep = random_keep(network.groups, seed, least=2)
        weights = shrink.slice_weights(network.weights, network.groups, keep)
        content = network.to_tflite(network.shrunk(keep, weights))
        widths = {group: len(kept) for group, kept in keep.items()}
        expected = [kernel.text for kernel in read_kernels(content)]
        assert [kernel.text for kernel in network.kernels(widths)] == expected
