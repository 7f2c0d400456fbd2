"""What a table answers after what was recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lookup_tables import (
    STRIKES,
    BatchRecord,
    ColdResult,
    Kernel,
    NetworkResult,
    Reason,
    Store,
    TableError,
)
from lookup_tables.quality import Accepted, Rejected, kernel_error

NULL_US = 0.5


def test_a_new_file_answers_nothing(store: Store, values: Any) -> None:
    assert store.platforms() == []
    assert store.entries(values.platform, [values.kernel()]) == {}
    assert store.null_time(values.platform) is None
    assert store.quarantined(values.platform) == {}


def test_entries_are_net_of_the_null_op(store: Store, values: Any) -> None:
    recorded = store.record_batch(values.platform, values.batch(values.accepted(16, 10.0, 0.004)))
    entry = store.entries(values.platform, [values.kernel(16), values.kernel(17)])
    assert entry == recorded.accepted
    (only,) = entry.values()
    assert only.latency_us == pytest.approx(10.0 - NULL_US)
    assert only.null_us == NULL_US
    assert only.relative_error == pytest.approx(
        kernel_error(Accepted(10.0, 0.004, 2), NULL_US, 0.01)
    )
    assert only.batch == recorded.batch
    assert only.measured_at >= 1_700_000_000


def test_everything_survives_reopening(store: Store, values: Any, tmp_path: Path) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(16, 10.0)))
    store.close()
    with Store(tmp_path / "table.db") as again:
        assert again.platforms() == [values.platform]
        assert list(again.entries(values.platform)) == [values.kernel(16)]


def test_platforms_do_not_mix(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(16, 10.0)))
    store.record_batch(values.other_platform, values.batch(values.accepted(16, 20.0)))
    (entry,) = store.entries(values.other_platform).values()
    assert entry.latency_us == pytest.approx(19.5)
    assert store.platforms() == [values.platform, values.other_platform]
    assert store.digest(values.platform) != store.digest(values.other_platform)


def test_the_newest_measurement_is_the_entry_and_the_old_one_stays(
    store: Store, values: Any
) -> None:
    for us in (10.0, 8.0, 9.0):
        store.record_batch(values.platform, values.batch(values.accepted(16, us)))
    (entry,) = store.entries(values.platform).values()
    assert entry.latency_us == pytest.approx(8.5)
    counts = store.counts(values.platform)
    assert (counts.entries, counts.measurements, counts.batches) == (1, 3, 3)


def test_raw_windows_are_kept(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(16, 10.0)))
    bad = replace(values.rejected(17, Reason.INVALID), windows=(values.window(float("nan")),))
    store.record_batch(values.platform, values.batch(bad))
    execute = store.connection.database.execute
    windows = json.loads(execute("SELECT windows FROM measurement").fetchone()[0])
    assert windows["low_us"] == [10.0, 10.0]
    assert windows["samples"] == [200, 200]
    assert json.loads(execute("SELECT windows FROM rejection").fetchone()[0])["low_us"] == ["nan"]


def test_null_time_is_the_median_of_those_subtracted(store: Store, values: Any) -> None:
    for units, null_us in ((1, 0.4), (2, 9.0), (3, 0.5)):
        record = replace(values.batch(values.accepted(units, 10.0)), null=values.null(null_us))
        store.record_batch(values.platform, record)
    null = store.null_time(values.platform)
    assert null is not None
    assert null.latency_us == 0.5
    assert store.null_time(values.other_platform) is None


def test_without_a_null_op_that_of_the_table_is_subtracted(store: Store, values: Any) -> None:
    first = store.record_batch(values.platform, values.batch(values.accepted(1, 10.0), null=False))
    assert first.accepted == {}
    assert first.rejected[values.kernel(1)].reason == Reason.NO_NULL
    store.record_batch(values.platform, values.batch(values.accepted(2, 10.0)))
    third = store.record_batch(values.platform, values.batch(values.accepted(1, 10.0), null=False))
    assert third.accepted[values.kernel(1)].null_us == NULL_US


def test_rejections_say_why(store: Store, values: Any) -> None:
    results = (values.rejected(1, Reason.UNSTEADY, "7 %"), values.rejected(2, Reason.HUNG, "20 s"))
    recorded = store.record_batch(values.platform, values.batch(*results))
    assert [(r.kernel, r.reason, r.detail, r.batch) for r in store.rejections(values.platform)] == [
        (values.kernel(1), Reason.UNSTEADY, "7 %", recorded.batch),
        (values.kernel(2), Reason.HUNG, "20 s", recorded.batch),
    ]
    assert set(recorded.rejected) == {values.kernel(1), values.kernel(2)}


def test_quarantine_after_three_strikes(store: Store, values: Any) -> None:
    for strike in range(1, STRIKES + 1):
        results = (
            values.rejected(1, Reason.CRASHED, f"signal {strike}"),
            values.rejected(2, Reason.UNSTEADY),
        )
        assert store.quarantined(values.platform) == {}
        store.record_batch(values.platform, values.batch(*results))
    ((kernel, verdict),) = store.quarantined(values.platform).items()
    assert kernel == values.kernel(1)
    assert verdict.reason == Reason.CRASHED
    assert verdict.detail == "3 times; last: signal 3"
    assert store.quarantined(values.other_platform) == {}


def test_an_accepted_measurement_wipes_strikes_out(store: Store, values: Any) -> None:
    for _ in range(STRIKES):
        store.record_batch(values.platform, values.batch(values.rejected(1, Reason.HUNG)))
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    assert store.quarantined(values.platform) == {}
    for _ in range(STRIKES):
        store.record_batch(values.platform, values.batch(values.rejected(1, Reason.HUNG)))
    assert set(store.quarantined(values.platform)) == {values.kernel(1)}


def test_whole_networks(store: Store, values: Any) -> None:
    windows = (values.window(271.0),) * 2
    first, second = (
        NetworkResult(name * 64, windows, Accepted(us, 0.002, 2), nodes=30, delegated=30)
        for name, us in (("a", 271.0), ("b", 140.0))
    )
    record = replace(values.batch(), networks=(first, second))
    recorded = store.record_batch(values.platform, record)
    (found,) = store.networks(values.platform, "b" * 64)
    assert (found.latency_us, found.relative_error, found.batch) == (140.0, 0.002, recorded.batch)
    assert len(store.networks(values.platform)) == store.counts(values.platform).networks == 2


def test_digest_changes_with_prices_alone(
    store: Store, values: Any, clock: Callable[[], float], tmp_path: Path
) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    store.record_batch(values.platform, values.batch(values.accepted(2, 20.0)))
    before = store.digest(values.platform)
    store.record_batch(values.platform, values.batch(values.rejected(3, Reason.UNSTEADY)))
    assert store.digest(values.platform) == before
    with Store(tmp_path / "other.db", clock=clock) as other:
        other.record_batch(
            values.platform, values.batch(values.accepted(2, 20.0), values.accepted(1, 10.0))
        )
        assert other.digest(values.platform) == before
    store.record_batch(values.platform, values.batch(values.accepted(2, 20.000001)))
    assert store.digest(values.platform) != before


def test_thousands_of_kernels_in_one_query(store: Store, values: Any) -> None:
    results = [values.accepted(units, 10.0 + units) for units in range(1, 3001)]
    store.record_batch(values.platform, values.batch(*results))
    kernels = [values.kernel(units) for units in range(1, 6001)]
    entries = store.entries(values.platform, iter(kernels))
    assert set(entries) == set(kernels[:3000])
    assert entries[values.kernel(7)].latency_us == pytest.approx(16.5)


def test_a_cold_time_joins_the_hot_one(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(16, 10.5)))
    (before,) = store.entries(values.platform).values()
    assert (before.cold_us, before.cold_error) == (None, None)
    recorded = store.record_batch(values.platform, cold_batch(values.kernel(16), 14.0))
    (entry,) = store.entries(values.platform).values()
    assert recorded.accepted == {values.kernel(16): entry}
    assert (entry.cold_us, entry.cold_error) == (14.0, 0.01)
    assert (entry.latency_us, entry.batch) == (before.latency_us, before.batch)
    store.record_batch(values.platform, values.batch(values.accepted(16, 11.5)))
    store.record_batch(values.platform, cold_batch(values.kernel(16), 15.0))
    (entry,) = store.entries(values.platform).values()
    assert (entry.latency_us, entry.cold_us) == (11.0, 15.0)


def test_cold_times_and_facts_belong_to_one_platform(store: Store, values: Any) -> None:
    for platform in (values.platform, values.other_platform):
        store.record_batch(platform, values.batch(values.accepted(16, 10.5)))
    store.record_batch(values.platform, cold_batch(values.kernel(16), 14.0))
    store.record_fact(values.platform, "l2_bytes", 1024.0, {})
    (other,) = store.entries(values.other_platform).values()
    assert other.cold_us is None
    assert store.facts(values.other_platform) == {}


def test_a_cold_time_without_a_hot_one_is_rejected(store: Store, values: Any) -> None:
    recorded = store.record_batch(values.platform, cold_batch(values.kernel(16), 14.0))
    assert recorded.rejected[values.kernel(16)].reason == Reason.INVALID
    (rejection,) = store.rejections(values.platform)
    assert rejection.detail == "cold: the table has no hot time of its own of this kernel"


def test_crashing_copies_do_not_quarantine_the_kernel(store: Store, values: Any) -> None:
    crash = ColdResult(values.kernel(16), 9, (), Rejected(Reason.CRASHED, "signal 9"))
    for _ in range(STRIKES):
        store.record_batch(values.platform, BatchRecord(wall_ms=1.0, cold=(crash,)))
    assert store.quarantined(values.platform) == {}
    assert len(store.rejections(values.platform)) == STRIKES


def test_the_newest_fact_counts_and_the_digest_follows(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(16, 10.5)))
    digests = [store.digest(values.platform)]
    for value in (1024.0, 2048.0):
        evidence = {"points": [[value, 1.5]], "odd": math.nan}
        fact = store.record_fact(values.platform, "l2_bytes", value, evidence)
        found = store.facts(values.platform)["l2_bytes"]
        assert (found.value, found.learnt_at) == (value, fact.learnt_at)
        assert found.evidence == {"points": [[value, 1.5]], "odd": "nan"}
        digests.append(store.digest(values.platform))
    store.record_batch(values.platform, cold_batch(values.kernel(16), 14.0))
    digests.append(store.digest(values.platform))
    assert len(set(digests)) == len(digests)
    with pytest.raises(TableError, match="append-only"), store.connection.write() as database:
        database.execute("UPDATE platform_fact SET value = 1")


def cold_batch(kernel: Kernel, us: float) -> BatchRecord:
    result = ColdResult(kernel, 9, (), Accepted(us, 0.01, 2), nodes=18, delegated=18)
    return BatchRecord(wall_ms=1.0, cold=(result,))
