"""The Eyeriss model as a cost model; what all of them share stands in test_conformance."""

from __future__ import annotations

import pytest

from adapt.cost import EyerissCost, Origin
from adapt.cost.eyeriss import Settings, estimate, estimate_layer, load_hardware
from adapt.cost.eyeriss.kernels import kernel_layer
from adapt.cost.eyeriss.shape_lists import read_built_in
from adapt.errors import UsageError
from adapt.tflite.ops import make_kernel
from lookup_tables import Kernel, Tensor

CHIP = load_hardware("eyeriss")


def dense(units: int, inputs: int = 64) -> Kernel:
    data = Tensor("float32", (1, inputs))
    weights = Tensor("float32", (units, inputs), constant=True)
    return make_kernel("FULLY_CONNECTED", [data, weights], [Tensor("float32", (1, units))])


def test_it_prices_what_the_estimate_says() -> None:
    kernel = dense(100)
    found = estimate_layer(kernel_layer(kernel, "layer"), CHIP, Settings())
    amount = EyerissCost().price([kernel])["energy"]
    assert CHIP.pj_per_mac is not None
    assert amount.value == pytest.approx(found.total * CHIP.pj_per_mac * 1e-6)
    assert set(amount.by_origin) == {Origin.ANALYTIC}


def test_operators_that_are_not_counted_cost_nothing() -> None:
    tensor = Tensor("float32", (1, 64))
    assert EyerissCost().price([make_kernel("RELU", [tensor], [tensor])])["energy"].value == 0


def test_work_that_it_does_not_know_is_refused() -> None:
    tensor = Tensor("float32", (1, 4, 4))
    product = make_kernel("BATCH_MATMUL", [tensor, tensor], [tensor])
    with pytest.raises(UsageError, match="does not know how BATCH_MATMUL is mapped"):
        EyerissCost().price([dense(4), product])


def test_hardware_without_joules_is_no_source_of_them() -> None:
    with pytest.raises(ValueError, match="pj_per_mac"):
        EyerissCost(load_hardware("isca16"))


def test_layers_seen_before_are_looked_up() -> None:
    estimate_layer.cache_clear()
    layers = read_built_in("resnet50").layers
    first = estimate(layers, CHIP, Settings())
    searched = estimate_layer.cache_info().misses
    assert searched < len(layers)  # Equal layers of the network are searched once.
    second = estimate(layers, CHIP, Settings())
    assert second == first
    assert estimate_layer.cache_info().misses == searched
    assert [each.layer.name for each in second.layers] == [layer.name for layer in layers]
