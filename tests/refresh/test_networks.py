"""Whole networks, side by side, in several workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from adapt.errors import DeviceError, InputError
from adapt.fleet.device import Outcome, Status
from adapt.refresh import MAX_ATTEMPTS, measure_network, measure_networks
from lookup_tables import Platform, Store

MakeOutcome = Callable[..., Outcome]
ORIGINAL, ADAPTED = b"original", b"adapted"


def name(content: bytes) -> str:
    return f"network-{hashlib.sha256(content).hexdigest()}"


def test_median_and_range_of_the_runs(
    store: Store, device: Any, platform: Platform, outcome: MakeOutcome
) -> None:
    times = (271, 269, 275, 268, 272)
    device.faults[name(ORIGINAL)] = [outcome(Status.MEASURED, us, us) for us in times]
    measured = measure_network(store, device, ORIGINAL)
    assert measured.sha256 == hashlib.sha256(ORIGINAL).hexdigest()
    assert measured.latency_us == 271.0
    assert measured.relative_error == pytest.approx(7 / 271)
    assert measured.runs == 5
    stored = store.networks(platform, measured.sha256)
    assert [run.latency_us for run in stored] == [*times]
    assert [run.batch for run in stored] == [1, 2, 3, 4, 5]


def test_one_run_keeps_its_own_error(store: Store, device: Any, outcome: MakeOutcome) -> None:
    device.faults[name(ORIGINAL)] = [outcome(Status.NOT_CONVERGED, 100.0, 101.0)]
    measured = measure_network(store, device, ORIGINAL, repeats=1)
    assert measured.relative_error == pytest.approx(1 / 100.5)


def test_networks_share_every_batch_with_the_null_op(store: Store, device: Any) -> None:
    device.times_us |= {name(ORIGINAL): 271.0, name(ADAPTED): 135.0}
    measured = measure_networks(store, device, [ADAPTED, ORIGINAL, ADAPTED], repeats=2)
    assert device.batches == [["null", name(ADAPTED), name(ORIGINAL)]] * 2
    assert [round(m.latency_us) for m in measured] == [135, 271, 135]


def test_no_networks(store: Store, device: Any) -> None:
    assert measure_networks(store, device, []) == []
    with pytest.raises(ValueError, match="0 repeats"):
        measure_network(store, device, ORIGINAL, repeats=0)


def test_network_batches_leave_prices_alone(store: Store, device: Any, platform: Platform) -> None:
    before = store.digest(platform)
    measure_network(store, device, ORIGINAL)
    assert store.digest(platform) == before
    assert store.null_time(platform) is None


def test_an_unsteady_network_gets_more_batches(
    store: Store, device: Any, outcome: MakeOutcome
) -> None:
    device.faults[name(ORIGINAL)] = [outcome(Status.NOT_CONVERGED, 100.0, 150.0)] * 2
    measured = measure_network(store, device, ORIGINAL, repeats=1)
    assert measured.runs == 1
    assert len(device.batches) == 3


@pytest.mark.parametrize(
    ("fault", "word"),
    [((Status.NOT_CONVERGED, 100.0, 150.0), "differ"), ((Status.NOT_STARTED,), "time limit")],
)
def test_a_network_that_never_settles(
    store: Store, device: Any, outcome: MakeOutcome, fault: tuple[Any, ...], word: str
) -> None:
    device.faults[name(ORIGINAL)] = [outcome(*fault)] * 99
    with pytest.raises(DeviceError, match=word):
        measure_network(store, device, ORIGINAL, repeats=2)
    assert len(device.batches) == 2 + MAX_ATTEMPTS - 1


def test_a_network_that_the_runtime_refuses_does_not_cost_the_other_its_run(
    store: Store, device: Any, platform: Platform, outcome: MakeOutcome
) -> None:
    device.faults[name(ADAPTED)] = [outcome(Status.REFUSED)]
    with pytest.raises(InputError, match=r"refused: simulated refused"):
        measure_networks(store, device, [ADAPTED, ORIGINAL])
    assert len(device.batches) == 1
    assert store.counts(platform).networks == 1


def test_a_network_beyond_the_limits_of_the_device(store: Store, device: Any) -> None:
    device.limits = device.limits.__class__(256, 100, 1000, 600_000, 1)
    with pytest.raises(DeviceError, match="does not take 1 models of 101 bytes"):
        measure_network(store, device, b"x" * 101)


def test_progress(store: Store, device: Any) -> None:
    seen: list[tuple[int, int]] = []
    measure_network(
        store,
        device,
        ORIGINAL,
        repeats=3,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
