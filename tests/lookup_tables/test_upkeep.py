"""What refreshing a table goes by: uses, drifts, repeated measurements, dates of cold times."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from lookup_tables import Accepted, BatchRecord, ColdResult, Drift, Reason, Store, TableError
from lookup_tables.checks import verify
from lookup_tables.survey import Repeat, repeats


def test_uses_add_up_for_kernels_that_the_table_knows(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    store.record_batch(values.other_platform, values.batch(values.accepted(2, 10.0)))
    known, other, unknown = values.kernel(1), values.kernel(2), values.kernel(3)
    store.record_uses(values.platform, [known, other, unknown])
    store.record_uses(values.platform, iter([known]))
    store.record_uses(values.platform, [])
    assert store.uses(values.platform) == {known: 2, other: 1}
    assert store.uses(values.other_platform) == {}
    assert verify(store) == []


def test_uses_change_no_price(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    before = store.digest(values.platform)
    store.record_uses(values.platform, [values.kernel(1)])
    store.record_drift(values.platform, Drift("", "", 1.2, 1.0, {}))
    assert store.digest(values.platform) == before


def test_drifts_are_kept_in_order(store: Store, values: Any) -> None:
    drifts = [
        Drift("", "", 1.25, 1_700_000_000.5, {"noise": 0.05, "rounds": [[["ab", 1.0, 1.25]]]}),
        Drift("CONV_2D", "int8", 0.8, 1_700_000_100.0, {}),
    ]
    for drift in drifts:
        store.record_drift(values.platform, drift)
    assert store.drifts(values.platform) == drifts
    assert store.drifts(values.other_platform) == []


@pytest.mark.parametrize(
    "drift",
    [
        Drift("", "", 0.0, 1.0, {}),
        Drift("", "", float("inf"), 1.0, {}),
        Drift("", "", 1.2, float("nan"), {}),
        Drift("ADD", "", 1.2, 1.0, {}),
    ],
)
def test_an_impossible_drift_is_refused(store: Store, values: Any, drift: Drift) -> None:
    with pytest.raises(TableError, match="refuses a value"):
        store.record_drift(values.platform, drift)
    assert store.drifts(values.platform) == []


def test_drifts_are_append_only(store: Store, values: Any) -> None:
    store.record_drift(values.platform, Drift("", "", 1.2, 1.0, {}))
    for change in ("UPDATE drift SET ratio = 1", "DELETE FROM drift"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.connection.database.execute(change)


def test_repeats_are_pairs_in_a_row(store: Store, values: Any) -> None:
    for us in (10.5, 11.5, 12.5):
        store.record_batch(values.platform, values.batch(values.accepted(1, us)))
    store.record_batch(values.platform, values.batch(values.accepted(2, 20.0)))
    rejected = values.rejected(2, Reason.UNSTEADY)
    store.record_batch(values.platform, values.batch(rejected))
    store.record_batch(values.other_platform, values.batch(values.accepted(1, 99.0)))
    found = repeats(store, values.platform, 10)
    assert [(each.before_us, each.latency_us) for each in found] == [(11.0, 12.0), (10.0, 11.0)]
    assert found[1].at == found[0].before_at
    assert found[1].before_at < found[1].at < found[0].at
    assert repeats(store, values.platform, 1) == found[:1]
    assert isinstance(found[0], Repeat)


def test_a_cold_time_has_a_date_of_its_own(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    (entry,) = store.entries(values.platform).values()
    assert entry.cold_at is None
    cold = ColdResult(values.kernel(1), 9, (), Accepted(14.0, 0.01, 2))
    store.record_batch(values.platform, BatchRecord(wall_ms=1.0, cold=(cold,)))
    (first,) = store.entries(values.platform).values()
    assert first.cold_at is not None
    assert first.cold_at > first.measured_at
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    (second,) = store.entries(values.platform).values()
    assert second.cold_at == first.cold_at
    assert second.measured_at > first.cold_at
