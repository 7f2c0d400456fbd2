"""Prices of networks whose kernels were not all measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from adapt.cost import Missing, TableLatency
from adapt.cost.base import Amount, Origin
from adapt.errors import DeviceError
from lookup_tables import (
    STRIKES,
    Accepted,
    BatchRecord,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Reason,
    Rejected,
    Store,
    Tensor,
)

NULL_US = 0.5


def dense(inputs: int, outputs: int) -> Kernel:
    operands = [
        Tensor("float32", (1, inputs)),
        Tensor("float32", (outputs, inputs), constant=True),
        None,
    ]
    return Kernel.make("FULLY_CONNECTED", operands, [Tensor("float32", (1, outputs))])


def truth(kernel: Kernel) -> float:
    weights = kernel.inputs[1]
    assert weights is not None
    outputs, inputs = weights.shape
    return 0.2 + 0.01 * inputs + 0.001 * inputs * outputs


def record(store: Store, platform: Platform, kernels: list[Kernel], factor: float = 1.0) -> None:
    results = tuple(
        KernelResult(k, (), Accepted(factor * truth(k) + NULL_US, 0.001, 2), nodes=1)
        for k in kernels
    )
    null = NullResult((), Accepted(NULL_US, 0.01, 2))
    store.record_batch(platform, BatchRecord(wall_ms=1.0, null=null, kernels=results))


GRID = [dense(m, n) for m in (4, 8, 16, 32) for n in (4, 12, 24, 48)]
# None takes what the one before it gives, so that none can be fused.
NETWORK = [dense(8, 12), dense(20, 30), dense(12, 20), dense(30, 10)]
UNKNOWN = NETWORK[1:]


class Memory:
    """Keeps guesses in memory."""

    def __init__(self) -> None:
        self.content: dict[tuple[str, Kernel], tuple[float, float]] = {}

    def get(self, quantity: str, kernel: Kernel) -> tuple[float, float] | None:
        return self.content.get((quantity, kernel))

    def keep(self, guesses: Mapping[tuple[str, Kernel], tuple[float, float]]) -> None:
        self.content.update(guesses)


@pytest.fixture
def table(tmp_path: Path, platform: Platform) -> Store:
    store = Store(tmp_path / "interpolated.db")
    record(store, platform, GRID)
    return store


def test_a_network_between_the_entries(table: Store, platform: Platform) -> None:
    amount = TableLatency(table, platform, max_error=0.1).price(NETWORK)["latency"]
    assert amount.value == pytest.approx(NULL_US + sum(map(truth, NETWORK)), rel=0.01)
    assert amount.by_origin[Origin.MEASURED] == pytest.approx(NULL_US + truth(NETWORK[0]))
    assert 0 < amount.error < 0.1 * amount.value


def test_what_was_interpolated_from_counts_as_asked_for(table: Store, platform: Platform) -> None:
    model = TableLatency(table, platform, max_error=0.1)
    model.price(GRID[:1])
    assert set(model.asked) == set(GRID[:1])
    model.price(NETWORK)
    assert set(model.asked) == set(GRID) | set(NETWORK[:1])


def test_what_is_measured_has_no_error(table: Store, platform: Platform) -> None:
    amount = TableLatency(table, platform, max_error=0.1).price(GRID[:1])["latency"]
    assert set(amount.by_origin) == {Origin.MEASURED}
    assert amount.error == 0.0


def test_parts_say_what_was_interpolated(table: Store, platform: Platform) -> None:
    first, *others = TableLatency(table, platform, max_error=0.1).price_each(NETWORK)
    assert set(first["latency"].by_origin) == {Origin.MEASURED}
    for part in others:
        assert set(part["latency"].by_origin) == {Origin.INTERPOLATED}
        assert part["latency"].error > 0


def test_without_a_bound_nothing_is_interpolated(table: Store, platform: Platform) -> None:
    with pytest.raises(Missing) as caught:
        TableLatency(table, platform).price(NETWORK)
    assert caught.value.kernels == tuple(UNKNOWN)
    assert not caught.value.networks


def test_what_no_curve_reaches_is_missing(table: Store, platform: Platform) -> None:
    far = dense(200, 10)
    with pytest.raises(Missing) as caught:
        TableLatency(table, platform, max_error=0.1).price([*NETWORK, far])
    assert caught.value.kernels == (far,)
    assert caught.value.networks == ((*NETWORK, far),)


def test_one_object_gives_one_price(table: Store, platform: Platform) -> None:
    model = TableLatency(table, platform, max_error=0.1)
    before = model.price(NETWORK)
    record(table, platform, [*GRID, *UNKNOWN], factor=1.5)
    assert model.price(NETWORK) == before
    assert TableLatency(table, platform, max_error=0.1).price(NETWORK) != before


def test_a_refused_price_is_made_anew_from_what_is_known_then(
    table: Store, platform: Platform
) -> None:
    model = TableLatency(table, platform, max_error=1e-6)
    with pytest.raises(Missing, match="1 networks are not known well enough"):
        model.price(NETWORK)
    record(table, platform, UNKNOWN)
    assert model.price(NETWORK)["latency"].error == 0.0


def test_kept_guesses_outlive_the_object(table: Store, platform: Platform) -> None:
    kept = Memory()
    before = TableLatency(table, platform, max_error=0.1, kept=kept).price(NETWORK)
    assert {kernel for _, kernel in kept.content} == set(UNKNOWN)
    record(table, platform, UNKNOWN, factor=1.5)
    assert TableLatency(table, platform, max_error=0.1, kept=kept).price(NETWORK) == before


def test_guesses_of_a_refused_price_are_not_kept(table: Store, platform: Platform) -> None:
    kept = Memory()
    with pytest.raises(Missing):
        TableLatency(table, platform, max_error=1e-6, kept=kept).price(NETWORK)
    assert not kept.content


def test_what_the_device_cannot_run_is_not_guessed(table: Store, platform: Platform) -> None:
    for _ in range(STRIKES):
        crash = KernelResult(UNKNOWN[0], (), Rejected(Reason.CRASHED, "signal 11"))
        table.record_batch(platform, BatchRecord(wall_ms=1.0, kernels=(crash,)))
    with pytest.raises(DeviceError, match="cannot run this kernel"):
        TableLatency(table, platform, max_error=0.1).price(NETWORK)


def test_errors_of_independent_amounts_add_up_in_squares() -> None:
    parts = [Amount({Origin.INTERPOLATED: 10.0}, 3.0), Amount({Origin.MEASURED: 5.0}, 4.0)]
    total = Amount.total(parts)
    assert (total.value, total.error) == (15.0, 5.0)
