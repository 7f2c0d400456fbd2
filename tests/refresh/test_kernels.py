"""Kernels that a table lacks become entries, whatever the device does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from adapt.cost import TableLatency
from adapt.errors import DeviceError, TableError
from adapt.fleet.device import MeasureOptions, Outcome, Status
from adapt.refresh import (
    MAX_ATTEMPTS,
    MAX_BATCH_KERNELS,
    MAX_FAULTS,
    Refreshed,
    measure_kernels,
)
from adapt.tflite.writer import write_kernel
from lookup_tables import Kernel, Platform, Reason, Store, Tensor

MakeOutcome = Callable[..., Outcome]


def test_measured_kernels_can_be_priced(
    store: Store, device: Any, kernels: list[Kernel], platform: Platform
) -> None:
    device.times_us |= {kernel.key: 10.0 * n for n, kernel in enumerate(kernels, start=1)}
    done = measure_kernels(store, device, [*kernels, *kernels])
    assert set(done.measured) == set(kernels)
    assert done.failed == {}
    assert (done.batches, done.device_ms) == (1, 100.0)
    assert device.batches == [["null", *(kernel.key for kernel in kernels)]]
    cost = TableLatency(store, platform).price(kernels)
    assert cost["latency"].value == pytest.approx(550 - 10 * 0.5 + 0.5, rel=0.001)


def test_nothing_to_do_asks_nobody(store: Store, device: Any) -> None:
    assert measure_kernels(store, device, []) == Refreshed()
    assert device.batches == []


def test_options_select_the_platform(store: Store, device: Any, kernels: list[Kernel]) -> None:
    options = MeasureOptions(backend="builtin", threads=1, core_mask=1)
    measure_kernels(store, device, kernels[:1], options=options)
    assert store.platforms() == [device.platform("builtin", 1, 1)]


def test_batches_are_bounded_and_recorded_one_by_one(
    store: Store, device: Any, kernels: list[Kernel], platform: Platform
) -> None:
    device.limits = device.limits.__class__(4, 1 << 20, 1 << 20, 600_000, 1)

    def recorded_so_far(count: int) -> None:
        assert store.counts(platform).batches == (count if count else 0)

    device.before_batch = recorded_so_far
    measure_kernels(store, device, kernels)
    assert [len(batch) for batch in device.batches] == [4, 4, 4, 2]


def test_batches_are_bounded_in_bytes(store: Store, device: Any, kernels: list[Kernel]) -> None:
    size = max(len(write_kernel(kernel)) for kernel in kernels)
    device.limits = device.limits.__class__(256, size, 3 * size + 20, 600_000, 1)
    done = measure_kernels(store, device, kernels)
    assert set(done.measured) == set(kernels)
    assert max(len(batch) for batch in device.batches) == 3


def test_a_long_list_goes_in_batches_of_our_own_size(store: Store, device: Any) -> None:
    many = [
        Kernel.make("LOGISTIC", [Tensor("float32", (n,))], [Tensor("float32", (n,))])
        for n in range(1, MAX_BATCH_KERNELS + 2)
    ]
    assert len(measure_kernels(store, device, many).measured) == len(many)
    assert [len(batch) for batch in device.batches] == [MAX_BATCH_KERNELS + 1, 2]


def test_a_device_that_vanishes_keeps_what_was_recorded(
    store: Store,
    device: Any,
    kernels: list[Kernel],
    platform: Platform,
    vanished: DeviceError,
) -> None:
    device.limits = device.limits.__class__(6, 1 << 20, 1 << 20, 600_000, 1)
    device.faults[kernels[7].key] = [vanished]
    with pytest.raises(DeviceError, match="went away"):
        measure_kernels(store, device, kernels)
    assert set(store.entries(platform)) == set(kernels[:5])
    assert store.counts(platform).rejections == 0
    missing = [kernel for kernel in kernels if kernel not in store.entries(platform)]
    assert set(measure_kernels(store, device, missing).measured) == set(kernels[5:])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((Status.MEASURED, math.nan, math.nan), Reason.INVALID),
        ((Status.MEASURED, 0.0, 0.0), Reason.INVALID),
        ((Status.NOT_CONVERGED, 10.0, 11.0, 12.0), Reason.UNSTEADY),
        ((Status.NOT_CONVERGED, 10.0), Reason.TOO_FEW_WINDOWS),
        ((Status.CRASHED,), Reason.CRASHED),
        ((Status.HUNG,), Reason.HUNG),
        ((Status.REFUSED,), Reason.REFUSED),
    ],
)
def test_a_kernel_that_keeps_failing_is_given_up_and_the_rest_is_not(
    store: Store,
    device: Any,
    kernels: list[Kernel],
    platform: Platform,
    outcome: MakeOutcome,
    fault: tuple[Any, ...],
    reason: Reason,
) -> None:
    bad = kernels[3]
    # What noise can cause is tried more often than what the kernel or the device is at fault for.
    attempts = MAX_ATTEMPTS if reason is Reason.UNSTEADY else MAX_FAULTS
    device.faults[bad.key] = [outcome(*fault) for _ in range(attempts)]
    done = measure_kernels(store, device, kernels)
    assert set(done.measured) == set(kernels) - {bad}
    assert {k: v.reason for k, v in done.failed.items()} == {bad: reason}
    assert device.batches[1:] == [["null", bad.key]] * (attempts - 1)
    assert [r.reason for r in store.rejections(platform)] == [reason] * attempts
    assert bad not in store.entries(platform)


def test_a_quarantined_kernel_is_not_asked_for_again(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    bad = kernels[3]
    device.faults[bad.key] = [outcome(Status.CRASHED, signal=11)] * MAX_FAULTS
    measure_kernels(store, device, [bad])
    device.batches.clear()
    done = measure_kernels(store, device, [bad, kernels[0]])
    assert device.batches == [["null", kernels[0].key]]
    assert done.failed[bad].reason == Reason.CRASHED
    assert "signal 11" in done.failed[bad].detail


def test_what_fails_once_is_tried_again(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    device.faults[kernels[3].key] = [outcome(Status.NOT_CONVERGED, 10.0, 20.0)]
    done = measure_kernels(store, device, kernels)
    assert set(done.measured) == set(kernels)
    assert done.batches == 2


def test_noise_is_no_fault_of_the_kernel(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    noise, crash = outcome(Status.NOT_CONVERGED, 10.0, 20.0), outcome(Status.CRASHED)
    device.faults[kernels[0].key] = [noise] * 4 + [crash] * (MAX_FAULTS - 1)
    device.faults[kernels[1].key] = [crash] * MAX_FAULTS
    done = measure_kernels(store, device, kernels)
    assert set(done.failed) == {kernels[1]}
    assert done.batches == 4 + MAX_FAULTS


def test_short_of_the_target_is_accepted_with_its_error(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    device.faults[kernels[0].key] = [outcome(Status.NOT_CONVERGED, 10.0, 10.1)]
    done = measure_kernels(store, device, kernels[:1])
    assert done.measured[kernels[0]].relative_error == pytest.approx(0.01, rel=0.1)


def test_a_batch_whose_null_op_is_not_accepted_is_measured_again(
    store: Store, device: Any, kernels: list[Kernel], platform: Platform, outcome: MakeOutcome
) -> None:
    device.faults["null"] = [outcome(Status.NOT_CONVERGED, 0.5, 0.9)] * (MAX_ATTEMPTS - 1)
    done = measure_kernels(store, device, kernels)
    assert set(done.measured) == set(kernels)
    assert done.batches == MAX_ATTEMPTS
    assert {r.reason for r in store.rejections(platform)} == {Reason.NO_NULL}
    device.faults["null"] = [outcome(Status.NOT_CONVERGED, 0.5, 0.9)]
    assert measure_kernels(store, device, kernels).batches == 1


def test_kernels_whose_turn_did_not_come_wait_without_losing_an_attempt(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    for turns, kernel in enumerate(kernels):
        device.faults[kernel.key] = [outcome(Status.NOT_STARTED) for _ in range(turns)]
    done = measure_kernels(store, device, kernels)
    assert set(done.measured) == set(kernels)
    assert done.batches == len(kernels)


def test_a_device_on_which_nothing_ever_starts_ends(
    store: Store, device: Any, kernels: list[Kernel], platform: Platform, outcome: MakeOutcome
) -> None:
    for kernel in kernels:
        device.faults[kernel.key] = [outcome(Status.NOT_STARTED) for _ in range(99)]
    done = measure_kernels(store, device, kernels)
    assert set(done.failed) == set(kernels)
    assert done.batches == MAX_FAULTS
    assert store.rejections(platform) == []


def test_models_that_cannot_be_made_or_sent_are_given_up_unmeasured(
    store: Store, device: Any, kernels: list[Kernel]
) -> None:
    strange = Kernel.make("CUSTOM_NMS", [Tensor("float32", (1,))], [Tensor("float32", (1,))])
    large = Kernel.make(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 512)), Tensor("float32", (512, 512), constant=True), None],
        [Tensor("float32", (1, 512))],
        {
            "fused_activation_function": "NONE",
            "weights_format": "DEFAULT",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": False,
            "quantized_bias_type": "FLOAT32",
        },
    )
    device.limits = device.limits.__class__(256, 1 << 18, 1 << 20, 600_000, 1)
    done = measure_kernels(store, device, [strange, large, kernels[0]])
    assert set(done.measured) == {kernels[0]}
    assert {v.reason for v in done.failed.values()} == {Reason.REFUSED}
    assert "bytes" in done.failed[large].detail
    assert device.batches == [["null", kernels[0].key]]


def test_progress_only_rises_and_ends_at_the_total(
    store: Store, device: Any, kernels: list[Kernel], outcome: MakeOutcome
) -> None:
    device.faults[kernels[3].key] = [outcome(Status.CRASHED)] * MAX_FAULTS
    seen: list[tuple[int, int]] = []
    measure_kernels(
        store, device, kernels, on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen == sorted(seen)
    assert seen[-1] == (len(kernels), len(kernels))


def test_a_full_disk_is_a_plain_error_and_can_be_resumed(
    store: Store, device: Any, kernels: list[Kernel], platform: Platform
) -> None:
    measure_kernels(store, device, kernels[:1])
    execute = store.connection.database.execute
    execute(f"PRAGMA max_page_count = {execute('PRAGMA page_count').fetchone()[0]}")

    def fill_up() -> None:
        for _ in range(20):
            measure_kernels(store, device, kernels)

    with pytest.raises(TableError, match="disk is full"):
        fill_up()
    execute("PRAGMA max_page_count = 1000000")
    measure_kernels(store, device, kernels)
    assert set(store.entries(platform)) == set(kernels)
