"""Sweeps of channels on a device that steps as it is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from adapt.errors import DeviceError
from adapt.fleet.device import Outcome, Status
from adapt.fleet.local import LocalDevice
from adapt.refresh import MAX_ATTEMPTS
from adapt.refresh.tiles import learn_tiles, stepping_axes
from adapt.tflite.ops import make_kernel
from lookup_tables import Fact, Kernel, Platform, Store, Tensor
from lookup_tables.families import Axis, resized
from lookup_tables.staircase import PLAIN, SWEEP
from lookup_tables.tiles import staircases, tile_axis, tile_fact

OUT = Axis("CONV_2D", "float32", "1x1", "out")
IN = Axis("CONV_2D", "float32", "1x1", "in")


def conv(inputs: int, outputs: int, size: int = 7, window: int = 1) -> Kernel:
    return make_kernel(
        "CONV_2D",
        [
            Tensor("float32", (1, size, size, inputs)),
            Tensor("float32", (outputs, window, window, inputs), constant=True),
            Tensor("float32", (outputs,), constant=True),
        ],
        [Tensor("float32", (1, size, size, outputs))],
        padding="SAME",
        stride_h=1,
        stride_w=1,
    )


def step(device: Any, kernel: Kernel, tile: int) -> None:
    """Let the device answer a sweep over the outputs of `kernel` in steps of `tile`."""
    inputs = kernel.inputs[0].shape[-1] if kernel.inputs[0] else 0
    for count in SWEEP:
        us = 1.0 + 0.05 * (-(-count // tile) * tile)
        device.times_us[resized(kernel, (inputs, count)).key] = us


def test_axes_that_differ_and_may_step() -> None:
    relu = make_kernel("RELU", [Tensor("float32", (1, 8))], [Tensor("float32", (1, 8))])
    found = stepping_axes([conv(8, 16), conv(8, 24), conv(8, 32, window=3), relu])
    assert found == {OUT: [conv(8, 16), conv(8, 24)]}
    assert set(stepping_axes([conv(8, 16), conv(16, 16)])) == {IN}


def test_a_tile_is_stored_with_its_evidence(store: Store, device: Any, platform: Platform) -> None:
    step(device, conv(64, 64), 8)
    facts = learn_tiles(store, device, [OUT], [conv(64, 20), conv(64, 30)])
    assert facts[OUT].value == 8.0
    assert store.facts(platform) == {tile_fact(OUT): facts[OUT]}
    assert facts[OUT].evidence["batches"] == [1, 2]
    assert facts[OUT].evidence["kernel"] == conv(64, 64).text
    known = staircases(store.facts(platform))
    assert known[OUT].tile == 8
    assert known[OUT].above(33) == 40
    # What was swept can be looked up like any kernel.
    assert len(store.entries(platform)) == len(SWEEP)


def test_the_kernel_of_moderate_work_is_swept(store: Store, device: Any) -> None:
    step(device, conv(64, 64), 8)
    kernels = [conv(64, 20, size=112), conv(64, 30), conv(2, 30)]
    assert learn_tiles(store, device, [OUT], kernels)[OUT].value == 8.0


def test_without_steps_the_tile_is_one(store: Store, device: Any, platform: Platform) -> None:
    fact = learn_tiles(store, device, [OUT], [conv(64, 20)])[OUT]  # All take the same time.
    assert fact.value == 1.0
    assert staircases(store.facts(platform)) == {OUT: PLAIN}


def test_a_sweep_that_does_not_settle_is_an_error(
    store: Store, device: Any, platform: Platform, outcome: Callable[..., Outcome]
) -> None:
    for count in range(1, 20):
        bad = outcome(Status.NOT_CONVERGED, 1.0, 2.0)
        device.faults[conv(64, count).key] = [bad] * MAX_ATTEMPTS
    with pytest.raises(DeviceError, match=r"tile of CONV_2D.float32.1x1.out .* only 109 gave"):
        learn_tiles(store, device, [OUT], [conv(64, 20)])
    assert store.facts(platform) == {}


def test_an_axis_that_no_kernel_has_is_refused(store: Store, device: Any) -> None:
    with pytest.raises(ValueError, match="no kernel has CONV_2D"):
        learn_tiles(store, device, [OUT], [conv(64, 20, window=3)])


def test_names_of_facts() -> None:
    for axis in (OUT, Axis("FULLY_CONNECTED", "int8", "", "in")):
        assert tile_axis(tile_fact(axis)) == axis
    assert tile_fact(OUT) == "CONV_2D.float32.1x1.out.tile_channels"
    assert tile_axis("l2_bytes") is None
    assert tile_axis("odd.tile_channels") is None


def test_evidence_that_is_no_sweep_is_plain() -> None:
    for evidence in ({}, {"microseconds_by_channels": [[1, "x"], [-1, 2.0], 3]}):
        assert staircases({tile_fact(OUT): Fact(8.0, 0.0, evidence)}) == {OUT: PLAIN}


@pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="a minute; set ADAPT_LONG=1")
def test_this_machine_steps_in_outputs_of_convolutions(store: Store) -> None:
    """XNNPACK packs weights by 8 output channels or more, on every CPU that it knows."""
    with LocalDevice() as device:
        facts = learn_tiles(store, device, [OUT], [conv(64, 20), conv(64, 30)])
    assert facts[OUT].value in (8, 16, 24, 32, 48, 64)
