"""Every architecture shrinks right, and its kernels at any widths are the converter's.

By default the small editions are tried. With ADAPT_LONG=1 it is the networks themselves, each at
five random widths, converted and run at half of their multiplications, and what is found is what
docs/architectures.md says.
"""

from __future__ import annotations

import os

import keras
import pytest

from adapt.network import nested
from adapt.network.groups import find_groups
from adapt.network.load import Network
from tests.network import checks
from tests.network.architectures import ARCHITECTURES
from tests.network.elasticity import assert_elastic
from tests.network.proof import difference, random_keep, randomise
from tools import document_architectures as document

LONG = pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="ADAPT_LONG=1 runs it")
SMALL = {name: a.small for name, a in ARCHITECTURES.items() if a.small is not None}
QUICK_TO_CONVERT = ["U-Net", "SSD-like, two heads", "Vision transformer", "ConvNeXtTiny"]


def small(name: str) -> keras.Model:
    return randomise(SMALL[name]())


@pytest.mark.parametrize("name", SMALL)
def test_shrunk_network_computes_what_the_original_does(name: str) -> None:
    model = nested.flat(small(name))
    assert difference(model, random_keep(find_groups(model), seed=0)) < checks.EXACT


@pytest.mark.parametrize("name", QUICK_TO_CONVERT)
def test_kernels_are_the_converters(name: str) -> None:
    network = Network(small(name))
    assert checks.kernels_agree(network, random_keep(network.groups, seed=0))
    assert checks.runs_at_half(network) is not None


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ConvNeXtTiny", "Vision transformer"])
def test_runs_as_a_function_of_its_weights(name: str) -> None:
    model = nested.flat(small(name))
    assert_elastic(model, random_keep(find_groups(model), seed=0), training=False)


@pytest.mark.parametrize("name", ["ResNet-8", "Vision transformer"])
def test_page_says_what_the_networks_are(name: str) -> None:
    """The columns that take no conversion; the long run compares all of them for all."""
    model = nested.flat(ARCHITECTURES[name].full())
    groups = find_groups(model)
    filters = sum(group.width for group in groups.groups)
    cells = document.cells(name)
    assert cells[1:4] == [f"{model.count_params():,}", str(len(groups.groups)), f"{filters:,}"]


def test_page_lists_every_architecture() -> None:
    for name in ARCHITECTURES:
        cells = document.cells(name)
        assert cells[-3].split(" of ")[0] == cells[-3].split(" of ")[1]


@LONG
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture(name: str) -> None:
    finding = checks.examine(ARCHITECTURES[name], document.TRIED)
    assert finding.exact == finding.kernels == finding.tried
    assert finding.half is not None
    assert document.row(name, finding) in document.PAGE.read_text()


@LONG
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_runs_as_a_function_of_its_weights(name: str) -> None:
    model = nested.flat(randomise(ARCHITECTURES[name].full()))
    assert_elastic(model, random_keep(find_groups(model), seed=0, least=2), training=False)
