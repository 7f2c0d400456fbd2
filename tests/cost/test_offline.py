"""Prices with no device at hand: the table as far as it goes, then the analytic model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from adapt.cost import Chain, EyerissCost, Missing, TableEnergy, TableLatency
from adapt.cost.base import Origin
from adapt.cost.cold import CACHE_FACT
from adapt.cost.offline import ON_EYERISS, from_table, on_eyeriss
from adapt.errors import DeviceError
from adapt.tflite.ops import make_kernel
from lookup_tables import (
    STRIKES,
    BatchRecord,
    Kernel,
    KernelResult,
    Platform,
    Reason,
    Rejected,
    Store,
    Tensor,
)

RecordUs = Callable[[Store, Platform, Mapping[Kernel, float]], None]
METER = "rapl"


def relu(size: int) -> Kernel:
    tensor = Tensor("float32", (1, size))
    return make_kernel("RELU", [tensor], [tensor])


def big_dense(units: int) -> Kernel:
    data = Tensor("float32", (1, 64))
    weights = Tensor("float32", (units, 64), constant=True)
    return make_kernel("FULLY_CONNECTED", [data, weights], [Tensor("float32", (1, units))])


def test_each_part_says_where_it_comes_from(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    table = TableLatency(store, platform, offline=True)
    between = known[0].__class__.make(
        "FULLY_CONNECTED",
        [
            Tensor("float32", (1, 8)),
            Tensor("float32", (25, 8), constant=True),
            Tensor("float32", (25,), constant=True),
        ],
        [Tensor("float32", (1, 25))],
    )
    amount = table.price([known[4], between, relu(500)])["latency"]
    assert set(amount.by_origin) == {Origin.MEASURED, Origin.INTERPOLATED, Origin.ANALYTIC}
    # The fifth takes five microseconds, and calling the runtime half of one.
    assert amount.by_origin[Origin.MEASURED] == pytest.approx(5.5)
    assert amount.by_origin[Origin.INTERPOLATED] == pytest.approx(25, rel=0.1)
    assert amount.error > amount.by_origin[Origin.ANALYTIC]


def test_nothing_that_lacks_stops_it(store: Store, platform: Platform) -> None:
    """Weights beyond any cache, with neither facts of the platform nor cold times."""
    network = [big_dense(1 << 17), relu(1 << 17)]
    with pytest.raises(Missing):
        TableLatency(store, platform, max_error=1.0).price(network)
    assert TableLatency(store, platform, offline=True).price(network)["latency"].value > 0


def test_cold_times_are_calibrated_by_cold_times(
    store: Store, platform: Platform, known: list[Kernel], record_us: RecordUs
) -> None:
    store.record_fact(platform, CACHE_FACT, float(64 << 10), {})
    table = TableLatency(store, platform, offline=True)
    # A network whose weights exceed the cache, of kernels that have no cold time: hot ones stand.
    network = [big_dense(100 + units) for units in range(8)]
    parts = table.price_each(network)
    assert all(set(each["latency"].by_origin) == {Origin.ANALYTIC} for each in parts)


def test_a_kernel_that_the_platform_refused_has_no_price(store: Store, platform: Platform) -> None:
    result = KernelResult(relu(7), (), Rejected(Reason.REFUSED, "no such type"))
    for _ in range(STRIKES):
        store.record_batch(platform, BatchRecord(wall_ms=1.0, kernels=(result,)))
    with pytest.raises(DeviceError, match="no such type"):
        TableLatency(store, platform, offline=True).price([relu(7)])


def test_with_nothing_measured_it_is_the_chip(store: Store) -> None:
    other = Platform("Pixel 9", "Tensor", "X", "litert", "2.3.0", "00ff", "xnnpack", 1)
    offline = from_table(store, other)
    assert offline.table is None
    assert offline.told_by == on_eyeriss().told_by == dict.fromkeys(offline.told_by, ON_EYERISS)
    network = [big_dense(100), relu(100)]
    cost = Chain(offline.models, ["latency", "energy"]).price(network)
    assert cost.values_by_resource == EyerissCost().price(network).values_by_resource


def test_energy_without_a_meter_is_the_chips(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    offline = from_table(store, platform)
    assert offline.told_by["energy"] == ON_EYERISS
    assert "calibrated to 20 kernels" in offline.told_by["latency"]
    cost = Chain(offline.models, ["latency", "energy"]).price(known)
    assert set(cost["latency"].by_origin) == {Origin.MEASURED}
    assert cost["energy"].value == EyerissCost().price(known)["energy"].value


def test_energies_of_the_platform_calibrate_those_of_other_kinds(
    store: Store, platform: Platform, known: list[Kernel], meter: Callable[..., None]
) -> None:
    """Twenty dense layers at four watts: a hundred more of their like, and a kind of its own."""
    meter(store, known)
    offline = from_table(store, platform)
    assert METER in offline.told_by["energy"]
    parts = Chain(offline.models, ["energy", "latency"]).price_each([known[3], relu(300)])
    assert set(parts[0]["energy"].by_origin) == {Origin.MEASURED}
    assert set(parts[1]["energy"].by_origin) == {Origin.ANALYTIC}
    # The same times, four watts as much.
    watts = parts[1]["energy"].value / parts[1]["latency"].value
    assert watts == pytest.approx(4, rel=0.05)


def test_energy_by_a_meter_that_told_nothing_lacks(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    table = TableLatency(store, platform, offline=True)
    with pytest.raises(Missing):
        TableEnergy(store, table, METER, offline=True).price(known)


def test_later_entries_change_no_price(
    store: Store, platform: Platform, record_us: RecordUs
) -> None:
    table = TableLatency(store, platform, offline=True)
    before = table.price([relu(99)])["latency"].value
    record_us(store, platform, {relu(100): 1e4})
    assert table.price([relu(99)])["latency"].value == before
    assert TableLatency(store, platform, offline=True).price([relu(99)])["latency"].value > before
