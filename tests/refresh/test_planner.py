"""Which kernels are measured next, and when it is enough."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from adapt.cost import Missing, TableLatency
from adapt.cost.base import Origin
from adapt.cost.cold import CACHE_FACT
from adapt.fleet.device import Batch, ModelFile, Outcome, Status
from adapt.refresh import MAX_ATTEMPTS
from adapt.refresh.filling import fill
from adapt.refresh.planner import Demand, plan
from adapt.tflite.ops import make_kernel
from adapt.tflite.reader import read_kernels
from lookup_tables import Kernel, Platform, Store, Tensor
from lookup_tables.curves import Curves
from lookup_tables.families import member


def conv(inputs: int, outputs: int, size: int = 7) -> Kernel:
    return make_kernel(
        "CONV_2D",
        [
            Tensor("float32", (1, size, size, inputs)),
            Tensor("float32", (outputs, 1, 1, inputs), constant=True),
            Tensor("float32", (outputs,), constant=True),
        ],
        [Tensor("float32", (1, size, size, outputs))],
        padding="SAME",
    )


def transpose(size: int) -> Kernel:
    """A kernel without a family."""
    order = Tensor("int32", (2,), constant=True, values=(1, 0))
    output = Tensor("float32", (4, size))
    return make_kernel("TRANSPOSE", [Tensor("float32", (size, 4)), order], [output])


def steps(inputs: int, outputs: int) -> float:
    """Microseconds on a device that works on eight outputs at a time."""
    return 0.5 + 0.002 * inputs * (-(-outputs // 8) * 8)


def demand(
    weights: Sequence[Mapping[Kernel, float]], known: Iterable[Kernel] = (), **more: Any
) -> Demand:
    values = {kernel: (time_of(kernel), 0.002) for kernel in known}
    totals = [sum(time_of(k) * w for k, w in each.items()) for each in weights]
    return Demand(weights, totals, Curves(values), seconds=0.03, runs=10, **more)


def time_of(kernel: Kernel) -> float:
    place = member(kernel)
    return 1.0 if place is None else steps(*place.channels)


GRID = [conv(m, n) for m in (16, 48, 96, 160, 256) for n in (16, 40, 96, 200)]
NETWORK = {conv(m, n): 1.0 for m, n in ((33, 57), (57, 120), (120, 57), (57, 199), (199, 31))}


def test_an_unknown_family_is_begun_far_apart() -> None:
    asked = {conv(m, m + 8): 1.0 for m in range(16, 200, 3)}
    first = plan(demand([asked]), 64)
    assert len(first) == 8
    assert all(math.isinf(step.gain) for step in first)
    places = [member(step.kernel).channels for step in first]  # type: ignore[union-attr]
    assert min(m for m, _ in places) < 30 < 170 < max(m for m, _ in places)


def test_few_kernels_are_measured_as_they_are() -> None:
    assert {step.kernel for step in plan(demand([NETWORK]), 64)} == set(NETWORK)


def test_kernels_without_a_family_are_a_must() -> None:
    found = plan(demand([{transpose(8): 1.0, **NETWORK}], GRID), 64)
    assert [step.kernel for step in found] == [transpose(8)]


def test_kernels_out_of_reach_are_a_must() -> None:
    found = plan(demand([{conv(1000, 64): 1.0, conv(90, 90): 1.0}], GRID), 64)
    assert [step.kernel for step in found] == [conv(1000, 64)]


def test_what_counts_most_comes_first() -> None:
    """Of two alike families the one that takes ten times as much of the network."""
    other = [conv(m, n, size=14) for m in (16, 48, 96, 160, 256) for n in (16, 40, 96, 200)]
    weights = {**NETWORK, **{conv(m, n, size=14): 10.0 for m, n in ((33, 57), (120, 190))}}
    found = plan(demand([weights], [*GRID, *other]), 2)
    assert [step.kernel.outputs[0].shape[1] for step in found] == [14, 14]
    assert found[0].gain > found[1].gain > 0


def test_what_takes_less_of_the_device_comes_first() -> None:
    cheap, dear = conv(57, 120), conv(199, 190)
    weights = {cheap: 1.0, dear: time_of(cheap) / time_of(dear)}  # The same share of the network.
    quick = Demand([weights], [1.0], demand([weights], GRID).curves, seconds=0.03, runs=0)
    slow = Demand([weights], [1.0], quick.curves, seconds=0.0001, runs=1000)
    assert {step.kernel for step in plan(quick, 20)} >= {cheap, dear}
    assert plan(slow, 20)[0].kernel != dear


def test_what_was_measured_is_not_proposed() -> None:
    found = plan(demand([NETWORK], [*GRID, *list(NETWORK)[:2]]), 64)
    assert not {step.kernel for step in found} & {*GRID, *list(NETWORK)[:2]}
    assert plan(demand([NETWORK], [*GRID, *NETWORK]), 64) == []


def test_unsuitable_kernels_are_not_proposed() -> None:
    found = plan(demand([NETWORK], GRID, suits=lambda kernel: False), 64)
    assert {step.kernel for step in found} <= set(NETWORK)


def test_equal_demands_give_equal_plans() -> None:
    backwards = dict(reversed(NETWORK.items()))
    assert plan(demand([NETWORK], GRID), 9) == plan(demand([backwards], reversed(GRID)), 9)


def networks(count: int, layers: int = 6) -> list[list[Kernel]]:
    """Random widths; even ones in and odd ones out, so that no two kernels can be fused."""
    chance = random.Random(5)
    return [
        [conv(chance.randrange(16, 257, 2), chance.randrange(17, 257, 2)) for _ in range(layers)]
        for _ in range(count)
    ]


@pytest.fixture
def stepping(store: Store, device: Any, platform: Platform) -> Any:
    """A device that steps by eight outputs, whose weights always stay in the cache."""
    store.record_fact(platform, CACHE_FACT, 1e9, {})
    measure = device.measure

    def timed(models: Sequence[ModelFile], *others: Any) -> Batch:
        for model in models:
            if model.id != "null":
                us = time_of(read_kernels(model.content)[0])
                device.times_us[model.id] = device.times_us["null"] + us
        batch: Batch = measure(models, *others)
        return batch

    device.measure = timed
    return device


def test_many_networks_are_priced_from_few_measurements(
    store: Store, stepping: Any, platform: Platform
) -> None:
    asked, others = networks(60)[:30], networks(60)[30:]
    filled = fill(store, stepping, asked, max_error=0.04)
    assert max(filled.errors) <= 0.04
    kernels = {kernel for network in asked for kernel in network}
    entries = store.entries(platform)
    assert len(kernels) > 170
    assert len(set(entries) & kernels) < 0.3 * len(kernels)
    assert len(filled.refreshed.measured) < 60
    model = TableLatency(store, platform, max_error=0.04)
    for network in others:
        amount = model.price(network)["latency"]
        truth = 0.5 + sum(map(time_of, network))
        assert amount.value == pytest.approx(truth, rel=0.02)
        assert amount.by_origin[Origin.INTERPOLATED] > 0.5 * truth
        assert 0 < amount.error < 0.04 * amount.value


def test_few_kernels_are_all_measured(store: Store, stepping: Any, platform: Platform) -> None:
    asked = networks(3)
    filled = fill(store, stepping, asked, max_error=0.04)
    assert filled.errors == [0.0, 0.0, 0.0]
    assert set(store.entries(platform)) == {kernel for network in asked for kernel in network}


def test_it_ends_with_the_time_limit(store: Store, stepping: Any) -> None:
    ticks = iter(range(1000))
    filled = fill(
        store,
        stepping,
        networks(40),
        max_error=0.0001,
        time_limit_s=3,
        clock=lambda: float(next(ticks)),
    )
    assert filled.refreshed.batches < 6
    assert filled.seconds < 6


def test_what_cannot_be_measured_does_not_hold_it_up(
    store: Store, stepping: Any, outcome: Callable[..., Outcome]
) -> None:
    hopeless = transpose(9)
    bad = outcome(Status.NOT_CONVERGED, 1.0, 2.0)
    stepping.faults[hopeless.key] = [bad] * MAX_ATTEMPTS
    asked = [[*network, hopeless] if i == 0 else network for i, network in enumerate(networks(30))]
    filled = fill(store, stepping, asked, max_error=0.04)
    assert math.isinf(filled.errors[0])
    assert max(filled.errors[1:]) <= 0.04
    assert hopeless in filled.refreshed.failed


def test_a_network_that_is_not_known_well_enough_is_missing(
    store: Store, stepping: Any, platform: Platform
) -> None:
    asked = networks(30)
    fill(store, stepping, asked, max_error=0.04)
    model = TableLatency(store, platform, max_error=1e-6)
    with pytest.raises(Missing, match="not known well enough") as caught:
        model.price(asked[0])
    assert caught.value.networks == (tuple(asked[0]),)
    assert not caught.value.kernels
