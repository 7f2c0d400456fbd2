"""What each cost model answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.cost import (
    Amount,
    Chain,
    Cost,
    CostModel,
    MacCount,
    Missing,
    Origin,
    TableLatency,
    counted,
    open_table,
)
from adapt.errors import Busy, DeviceError, TableError, UsageError
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
    TableFullError,
    TableLockedError,
)


def record(store: Store, platform: Platform, kernel: Kernel, us: float) -> None:
    null = NullResult((), Accepted(0.7, 0.0, 2))
    result = KernelResult(kernel, (), Accepted(us, 0.0, 2), nodes=1)
    store.record_batch(platform, BatchRecord(wall_ms=1.0, null=null, kernels=(result,)))


def test_latency_is_the_sum_of_kernels_and_one_call_of_the_runtime(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    model = TableLatency(store, platform)
    cost = model.price([known[2], known[2], known[9]])
    assert cost["latency"].by_origin == {Origin.MEASURED: pytest.approx(3 + 3 + 10 + 0.5)}
    assert [c["latency"].value for c in model.price_each(known[:2])] == pytest.approx([1, 2])


def test_macs_are_counted(known: list[Kernel]) -> None:
    assert MacCount().price(known[:3])["macs"].by_origin == {Origin.EXACT: 8 * (1 + 2 + 3)}


def test_what_is_measured_after_missing_is_priced(
    store: Store, platform: Platform, known: list[Kernel], unknown: list[Kernel]
) -> None:
    model = TableLatency(store, platform)
    with pytest.raises(Missing) as caught:
        model.price([*known, *unknown])
    for kernel in caught.value.kernels:
        record(store, platform, kernel, 100.7)
    assert model.price(unknown[:1])["latency"].value == pytest.approx(100.5, abs=0.3)


def test_prices_do_not_move_while_a_model_lives(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    model = TableLatency(store, platform)
    before = model.price(known)
    for kernel in known:
        record(store, platform, kernel, 77.0)
    assert model.price(known)["latency"] == before["latency"]
    assert TableLatency(store, platform).price(known)["latency"] != before["latency"]


def test_another_platform_lacks_everything(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    other = replace(platform, threads=2)
    with pytest.raises(Missing) as caught:
        TableLatency(store, other).price(known)
    assert caught.value.kernels == tuple(known)


def test_a_quarantined_kernel_is_an_error_that_names_it(
    store: Store, platform: Platform, unknown: list[Kernel]
) -> None:
    result = KernelResult(unknown[0], (), Rejected(Reason.CRASHED, "signal 11: SIGSEGV"))
    for _ in range(STRIKES):
        store.record_batch(platform, BatchRecord(wall_ms=1.0, kernels=(result,)))
    with pytest.raises(DeviceError, match=r"crashed 3 times; last: signal 11") as caught:
        TableLatency(store, platform).price(unknown)
    assert unknown[0].text in caught.value.what


def test_energy_has_no_source_without_a_meter(store: Store, platform: Platform) -> None:
    models: list[CostModel] = [TableLatency(store, platform), MacCount()]
    with pytest.raises(UsageError, match="no energy source for this platform") as caught:
        Chain(models, ["latency", "energy"])
    assert "latency, macs" in caught.value.todo


class Analytic:
    """Energy and latency by a formula."""

    resources: frozenset[str] = frozenset({"energy", "latency"})

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        amount = Amount.of(Origin.ANALYTIC, float(len(kernels)))
        return Cost({"energy": amount, "latency": amount})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        return [self.price([kernel]) for kernel in kernels]


def test_the_first_model_that_offers_a_resource_answers(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    table = TableLatency(store, platform)
    cost = Chain([table, Analytic()], ["latency", "energy"]).price(known)
    assert set(cost["latency"].by_origin) == {Origin.MEASURED}
    assert set(cost["energy"].by_origin) == {Origin.ANALYTIC}
    swapped = Chain([Analytic(), table], ["latency"]).price(known)
    assert set(swapped) == {"latency"}
    assert swapped["latency"].value == len(known)


def test_a_model_that_is_not_needed_is_not_asked(
    store: Store, platform: Platform, unknown: list[Kernel]
) -> None:
    chain = Chain([TableLatency(store, platform), MacCount()], ["macs"])
    assert chain.price(unknown)["macs"].value > 0


def test_costs_add_up_by_resource() -> None:
    cost = counted({"params": 78_666}) | counted({"size": 318_144.0})
    assert list(cost) == ["params", "size"]
    assert cost.values_by_resource == {"params": 78_666, "size": 318_144.0}
    assert str(cost) == "params 78.7 k, size 318 kB"
    with pytest.raises(ValueError, match="speed"):
        counted({"speed": 1.0})


def test_amounts_add_up_by_origin() -> None:
    parts = [Amount.of(Origin.MEASURED, 0.1)] * 10 + [Amount.of(Origin.ANALYTIC, 2.0)]
    total = Amount.total(parts)
    assert total.by_origin == {Origin.MEASURED: 1.0, Origin.ANALYTIC: 2.0}
    assert total.value == 3.0


def test_tables_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a table")
    with pytest.raises(TableError, match="not a lookup table"):
        open_table(tmp_path / "file")
    with pytest.raises(TableError, match="no table can be kept"):
        open_table(tmp_path / "file" / "table.db")
    with open_table(tmp_path / "new" / "folder" / "table.db") as store:
        assert store.platforms() == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(TableLockedError("locked"), Busy), (TableFullError("full"), TableError)],
)
def test_errors_of_the_table_become_ours(
    store: Store,
    platform: Platform,
    unknown: list[Kernel],
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    expected: type[Exception],
) -> None:
    def entries(*_: object) -> Callable[[], None]:
        raise raised

    monkeypatch.setattr(store, "entries", entries)
    with pytest.raises(expected, match=str(raised)):
        TableLatency(store, platform).price(unknown)
