"""Entries get their cold times, whatever the device does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapt.cost import Missing, TableLatency
from adapt.cost.cold import CACHE_FACT, copies
from adapt.fleet.device import Outcome, Status
from adapt.refresh import MAX_ATTEMPTS, MAX_FAULTS, measure_cold, measure_kernels, measure_missing
from adapt.refresh.cold import SLICE_COPIES
from adapt.tflite.copies import slice_kernel
from adapt.tflite.ops import make_kernel
from adapt.tflite.quantities import weight_bytes
from lookup_tables import Kernel, Platform, Reason, Store, Tensor
from lookup_tables.exchange import Row, merge

MakeOutcome = Callable[..., Outcome]
CACHE = 64 << 10
NULL_US = 0.5
SLICE_US = 0.05
COLD_US = 25.0


def dense(units: int, dtype: str = "float32") -> Kernel:
    operands = [Tensor(dtype, (1, 64)), Tensor(dtype, (units, 64), True), None]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor(dtype, (1, units))])


def model_of(kernel: Kernel, count: int) -> str:
    return f"{kernel.key}.{count}"


def copy_times(device: Any, kernel: Kernel) -> None:
    """Let copies of `kernel` take COLD_US each."""
    count = copies(weight_bytes(kernel), CACHE)
    device.times_us[model_of(kernel, count)] = NULL_US + count * (COLD_US + SLICE_US)


@pytest.fixture
def layers(store: Store, device: Any, platform: Platform) -> list[Kernel]:
    """Four kernels of 16 to 28 KiB with hot times; their cold time is COLD_US."""
    kernels = [dense(units) for units in (64, 80, 96, 112)]
    measure_kernels(store, device, kernels)
    store.record_fact(platform, CACHE_FACT, CACHE, {})
    device.batches.clear()
    slices = model_of(slice_kernel("float32"), SLICE_COPIES)
    device.times_us[slices] = NULL_US + SLICE_COPIES * SLICE_US
    for kernel in kernels:
        copy_times(device, kernel)
    return kernels


def test_each_copy_tells_the_cold_time(
    store: Store, device: Any, platform: Platform, layers: list[Kernel]
) -> None:
    hot = {kernel: entry.latency_us for kernel, entry in store.entries(platform).items()}
    done = measure_cold(store, device, layers)
    assert {k: e.cold_us for k, e in done.measured.items()} == dict.fromkeys(
        layers, pytest.approx(COLD_US, rel=0.001)
    )
    assert done.batches == 1
    entries = store.entries(platform)
    assert {kernel: entry.latency_us for kernel, entry in entries.items()} == hot
    assert all(0 < (entry.cold_error or 0) < 0.01 for entry in entries.values())
    (batch,) = device.batches
    assert batch[:3] == [
        "null",
        model_of(slice_kernel("float32"), SLICE_COPIES),
        model_of(layers[0], 8),
    ]


def test_nothing_to_do_asks_nobody_and_no_cache_is_an_error(store: Store, device: Any) -> None:
    assert measure_cold(store, device, []).batches == 0
    with pytest.raises(ValueError, match="l2_bytes"):
        measure_cold(store, device, [dense(64)])
    assert device.batches == []


def test_batches_are_bounded(store: Store, device: Any, layers: list[Kernel]) -> None:
    device.limits = device.limits.__class__(3, 1 << 20, 1 << 21, 600_000, 1)
    done = measure_cold(store, device, layers)
    assert set(done.measured) == set(layers)
    assert [len(batch) for batch in device.batches] == [3] * 4


def test_copies_that_do_not_fit_are_given_up(
    store: Store, device: Any, layers: list[Kernel]
) -> None:
    device.limits = device.limits.__class__(256, 100 << 10, 1 << 21, 600_000, 1)
    done = measure_cold(store, device, layers)
    assert done.measured == {}
    assert {verdict.reason for verdict in done.failed.values()} == {Reason.REFUSED}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"lows": (200.0, 300.0)}, Reason.UNSTEADY),
        ({"lows": (200.0, 200.0), "nodes": 15}, Reason.INVALID),
        ({"status": Status.CRASHED}, Reason.CRASHED),
    ],
)
def test_a_kernel_that_keeps_failing_is_given_up_and_stays_in_the_table(
    store: Store,
    device: Any,
    platform: Platform,
    layers: list[Kernel],
    outcome: MakeOutcome,
    fault: dict[str, Any],
    reason: Reason,
) -> None:
    bad = outcome(
        fault.get("status", Status.MEASURED), *fault.get("lows", ()), nodes=fault.get("nodes", 16)
    )
    attempts = MAX_ATTEMPTS if reason is Reason.UNSTEADY else MAX_FAULTS
    device.faults[model_of(layers[0], 8)] = [bad] * attempts
    done = measure_cold(store, device, layers)
    assert set(done.measured) == set(layers[1:])
    assert {kernel: verdict.reason for kernel, verdict in done.failed.items()} == {
        layers[0]: reason
    }
    assert store.entries(platform)[layers[0]].cold_us is None
    assert store.quarantined(platform) == {}
    assert all(r.detail.startswith("cold: ") for r in store.rejections(platform))
    assert len(store.rejections(platform)) == attempts


def test_without_the_slices_the_batch_is_measured_again(
    store: Store, device: Any, layers: list[Kernel], outcome: MakeOutcome
) -> None:
    slices = model_of(slice_kernel("float32"), SLICE_COPIES)
    device.faults[slices] = [outcome(Status.NOT_CONVERGED, 1.0, 2.0)]
    done = measure_cold(store, device, layers)
    assert set(done.measured) == set(layers)
    assert done.batches == 2


def test_kernels_whose_turn_did_not_come_wait(
    store: Store, device: Any, layers: list[Kernel], outcome: MakeOutcome
) -> None:
    device.faults[model_of(layers[2], 6)] = [outcome(Status.NOT_STARTED)] * 2
    done = measure_cold(store, device, layers)
    assert set(done.measured) == set(layers)
    assert done.batches == 3


def test_what_is_missing_is_measured_until_there_is_a_price(
    store: Store, device: Any, platform: Platform, layers: list[Kernel], kernels: list[Kernel]
) -> None:
    model, network = TableLatency(store, platform), [*layers, *kernels]
    seen: list[tuple[int, int]] = []
    rounds = 0
    while True:
        try:
            cost = model.price(network)
            break
        except Missing as lack:
            rounds += 1
            measure_missing(store, device, lack, on_progress=lambda *at: seen.append(at))
    # 88 KiB of weights against 64 KiB: almost all of the difference between hot and cold.
    assert rounds == 1
    share = (88 / 64 - 0.6) / 0.8
    expected = 14 * 9.5 + 4 * share * (COLD_US - 9.5) + 0.5
    assert cost["latency"].value == pytest.approx(expected, rel=0.001)
    total = len(kernels) + len(layers)
    assert (len(kernels), total) in seen
    assert seen[-1] == (total, total)


def test_what_only_an_import_knows_is_measured_hot_first(
    store: Store, device: Any, platform: Platform, layers: list[Kernel]
) -> None:
    stranger = dense(128)
    copy_times(device, stranger)
    row = Row(platform, stranger, 9.0, 0.01, 0.5, 1.0, source="colleague")
    merge(store, [row], now=2.0)
    done = measure_missing(store, device, Missing(cold=[stranger]))
    assert not done.failed
    entry = store.entries(platform)[stranger]
    assert (entry.source, entry.cold_us) == ("", pytest.approx(COLD_US, rel=0.001))


def test_where_no_cold_time_can_be_had_the_hot_one_stands(
    store: Store, device: Any, platform: Platform, layers: list[Kernel], outcome: MakeOutcome
) -> None:
    bad = outcome(Status.CRASHED)
    device.faults[model_of(layers[0], 8)] = [bad] * MAX_FAULTS
    with pytest.raises(Missing) as asked:
        TableLatency(store, platform).price(layers)
    failed = measure_missing(store, device, asked.value).failed
    assert set(failed) == store.never_cold(platform) == {layers[0]}
    first, *others = TableLatency(store, platform).price_each(layers)
    assert first["latency"].value == pytest.approx(9.5, rel=0.001)
    assert all(cost["latency"].value > 12.0 for cost in others)
