"""Whole networks, side by side, in several workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from adapt.errors import DeviceError, InputError
from adapt.fleet.device import MeasureOptions, Outcome, Status
from adapt.refresh import MAX_ATTEMPTS, measure_network, measure_networks
from adapt.refresh.session import Session
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


def test_the_ratio_to_the_first_counts(store: Store, device: Any, outcome: MakeOutcome) -> None:
    times = {ORIGINAL: (100, 120, 100, 120, 100), ADAPTED: (51, 60, 50, 61, 50)}
    for content, each in times.items():
        device.faults[name(content)] = [outcome(Status.MEASURED, us, us) for us in each]
    original, adapted = measure_networks(store, device, [ORIGINAL, ADAPTED])
    # Of medians it is 51 %; beside the original it took half of the time in most batches.
    assert (original.latency_us, adapted.latency_us) == (100.0, 51.0)
    assert (original.share, adapted.share) == (1.0, 0.5)


def test_a_ratio_of_few_batches_is_none(store: Store, device: Any, outcome: MakeOutcome) -> None:
    unsteady = outcome(Status.NOT_CONVERGED, 100.0, 150.0)
    device.faults[name(ORIGINAL)] = [unsteady, outcome(Status.MEASURED, 300, 300), *[unsteady] * 3]
    original, adapted = measure_networks(store, device, [ORIGINAL, ADAPTED])
    assert (original.runs, adapted.runs) == (1, 5)
    assert (original.share, adapted.share) == (None, None)


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
    with pytest.raises(DeviceError, match="does not take a model of 101 bytes"):
        measure_network(store, device, b"x" * 101)


@pytest.mark.parametrize(
    ("room", "parts"),
    [
        (370, ["abcd"]),
        (369, ["abc", "ad"]),
        (279, ["ab", "acd"]),
        (185, ["ac", "b", "d"]),
        (170, ["a", "b", "cd"]),
    ],
)
def test_files_go_as_many_at_a_time_as_fit_the_first_beside_each(
    store: Store, device: Any, room: int, parts: list[str]
) -> None:
    files = {
        letter: letter.encode() * size
        for letter, size in zip("abcd", (100, 100, 80, 90), strict=True)
    }
    letters = {name(content): letter for letter, content in files.items()}
    null = len(Session.open(store, device, MeasureOptions()).null_model.content)
    device.limits = device.limits.__class__(256, 1 << 20, null + room, 600_000, 1)
    seen: list[tuple[int, int]] = []
    measured = measure_networks(
        store,
        device,
        list(files.values()),
        repeats=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    asked = ["".join(letters[each] for each in batch[1:]) for batch in device.batches]
    assert asked == [part for part in parts for _ in range(2)]
    assert [each.runs for each in measured] == [2 * "".join(parts).count(x) for x in files]
    assert seen[-1] == (2 * len(parts), 2 * len(parts))


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
