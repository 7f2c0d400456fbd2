"""Entries from one table to another: what a file says, what is refused, who answers."""

from __future__ import annotations

import contextlib
import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    EnergyResult,
    EnergyRun,
    Reason,
    Store,
)
from lookup_tables.exchange import (
    COLUMNS,
    ExchangeError,
    Imported,
    Row,
    export_rows,
    merge,
)
from lookup_tables.row_files import read, write
from lookup_tables.survey import Fate, find_kernels, history, summaries

NOW = 1_750_000_000.0


def text_of(rows: list[Row]) -> str:
    file = io.StringIO(newline="")
    assert write(rows, file) == len(rows)
    return file.getvalue()


def read_text(text: str, source: str = "colleague") -> list[Row]:
    return read(io.StringIO(text, newline=""), source=source, now=NOW)


@pytest.fixture
def row(values: Any) -> Row:
    return Row(values.platform, values.kernel(1), 7.25, 0.004, 0.5, 1_700_000_000.25, "colleague")


@pytest.fixture
def other(tmp_path: Path) -> Any:
    with Store(tmp_path / "other.db") as opened:
        yield opened


def test_a_table_goes_from_one_file_to_another(store: Store, other: Store, values: Any) -> None:
    store.record_batch(
        values.platform, values.batch(values.accepted(1, 10.0), values.accepted(2, 0.1 + 0.2))
    )
    store.record_batch(values.other_platform, values.batch(values.accepted(1, 30.0)))
    exported = export_rows(store)
    assert [row.source for row in exported] == [""] * 3
    assert merge(other, read_text(text_of(exported)), NOW) == Imported(3, 0, 0)
    for platform in (values.platform, values.other_platform):
        mine, theirs = store.entries(platform), other.entries(platform)
        assert {k: replace(e, batch=0, source="colleague") for k, e in mine.items()} == theirs
        assert store.digest(platform) == other.digest(platform)
        ours, null = store.null_time(platform), other.null_time(platform)
        assert ours
        assert null
        assert ours.latency_us == null.latency_us
    (row,) = export_rows(store, values.other_platform)
    assert row.latency_us == 29.5


def test_a_second_import_changes_nothing(store: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    mine = read_text(text_of(export_rows(store)))
    assert merge(store, mine, NOW) == Imported(0, 1, 0)
    theirs = [replace(mine[0], latency_us=8.0)]
    assert merge(store, theirs, NOW) == Imported(1, 0, 1)
    assert merge(store, theirs, NOW) == Imported(0, 1, 0)
    exported = export_rows(store)
    assert [row.source for row in exported] == ["", "colleague"]
    assert merge(store, read_text(text_of(exported)), NOW) == Imported(0, 2, 0)


def test_own_measurements_answer_and_imports_stand_beside(
    store: Store, values: Any, row: Row
) -> None:
    older = replace(row, latency_us=6.0, measured_at=row.measured_at - 10, source="somebody")
    merge(store, [row, older], NOW)
    kernel = values.kernel(1)
    imported = store.entries(values.platform, [kernel])[kernel]
    assert (imported.latency_us, imported.source, imported.batch) == (7.25, "colleague", 0)
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    store.record_batch(values.platform, values.batch(values.rejected(1, Reason.HUNG)))
    own = store.entries(values.platform)[kernel]
    assert (own.latency_us, own.source, own.batch) == (9.5, "", 1)
    seen = history(store, values.platform, kernel)
    assert [(o.fate, o.answers) for o in seen if o.fate != Fate.IMPORTED] == [
        (Fate.ACCEPTED, True),
        (Fate.REJECTED, False),
    ]
    assert {(o.detail, o.latency_us, o.answers) for o in seen if o.fate == Fate.IMPORTED} == {
        ("somebody", 6.0, False),
        ("colleague", 7.25, False),
    }
    assert [o.at for o in seen] == sorted(o.at for o in seen)


def test_an_import_answers_in_the_history_too(store: Store, values: Any, row: Row) -> None:
    merge(store, [row, replace(row, measured_at=row.measured_at + 1, latency_us=5.0)], NOW)
    seen = history(store, values.platform, row.kernel)
    assert [(o.latency_us, o.answers) for o in seen] == [(7.25, False), (5.0, True)]


def test_an_energy_comes_along(store: Store, other: Store, values: Any) -> None:
    kernel = values.kernel(1)
    store.record_batch(
        values.platform, values.batch(values.accepted(1, 10.0), values.accepted(2, 20.0))
    )
    run = EnergyRun("ina226 1-0040", 9_000.0, 5.0, 100, 800.0, 820.0, 0.1)
    null = EnergyRun("ina226 1-0040", 9_000.0, 5.0, 1_000, 800.0, 820.0, 0.01)
    energy = (EnergyResult(kernel, run),)
    store.record_batch(values.platform, BatchRecord(1.0, energy=energy, null_energy=null))
    text = text_of(export_rows(store))
    assert merge(other, read_text(text), NOW) == Imported(2, 0, 0)
    mine, theirs = store.entries(values.platform), other.entries(values.platform)
    # A row has one date, that of its time.
    expected = replace(mine[kernel], energy_at=mine[kernel].measured_at)
    assert theirs[kernel] == replace(expected, batch=0, source="colleague")
    assert theirs[kernel].energy_meter == "ina226 1-0040"
    assert (theirs[values.kernel(2)].energy_uj, theirs[values.kernel(2)].energy_meter) == (None, "")
    assert store.digest(values.platform) == other.digest(values.platform)
    assert set(other.metered(values.platform, "ina226 1-0040")) == {kernel}
    # And on from there.
    assert read_text(text_of(export_rows(other))) == read_text(text)


@pytest.mark.parametrize(
    ("energy", "complaint"),
    [
        (("5.0", "0.1", ""), "energy_uj, energy_error and energy_meter go together"),
        (("5.0", "", "rapl"), "energy_uj, energy_error and energy_meter go together"),
        (("", "0.1", "rapl"), "energy_uj, energy_error and energy_meter go together"),
        (("", "", "rapl"), "energy_uj, energy_error and energy_meter go together"),
        (("0", "0.1", "rapl"), "column energy_uj: 0.0 is not between"),
        (("1e15", "0.1", "rapl"), "column energy_uj"),
        (("nan", "0.1", "rapl"), "column energy_uj"),
        (("5.0", "-0.1", "rapl"), "column energy_error"),
        (("5.0", "0.1", "=cmd()"), "column energy_meter: not a name of a meter"),
    ],
)
def test_energies_that_make_no_sense_are_refused(
    row: Row, energy: tuple[str, str, str], complaint: str
) -> None:
    head, line, *_ = text_of([row]).splitlines()
    assert line.endswith(",,,,,")
    changed = line.removesuffix(",,,") + "," + ",".join(energy)
    with pytest.raises(ExchangeError, match=complaint):
        read_text(f"{head}\n{changed}\n")


def test_a_cold_time_comes_along(store: Store, other: Store, values: Any) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    cold = ColdResult(values.kernel(1), 9, (), Accepted(12.0, 0.01, 2))
    store.record_batch(values.platform, BatchRecord(wall_ms=1.0, cold=(cold,)))
    merge(other, read_text(text_of(export_rows(store))), NOW)
    (entry,) = other.entries(values.platform).values()
    assert (entry.cold_us, entry.cold_error, entry.source) == (12.0, 0.01, "colleague")
    assert store.digest(values.platform) == other.digest(values.platform)
    seen = history(other, values.platform, values.kernel(1))
    assert [(o.cold, o.latency_us, o.answers) for o in seen] == [
        (False, 9.5, True),
        (True, 12.0, True),
    ]
    # What is measured here answers alone: a cold time of another device does not go with it.
    other.record_batch(values.platform, values.batch(values.accepted(1, 10.0)))
    assert [o.answers for o in history(other, values.platform, values.kernel(1))] == [
        False,
        False,
        True,
    ]
    (entry,) = other.entries(values.platform).values()
    assert entry.cold_us is None


def test_a_null_time_of_others_is_not_subtracted_here(store: Store, values: Any, row: Row) -> None:
    merge(store, [row], NOW)
    recorded = store.record_batch(
        values.platform, values.batch(values.accepted(2, 10.0), null=False)
    )
    assert {r.reason for r in recorded.rejected.values()} == {Reason.NO_NULL}


def test_summaries(store: Store, values: Any, row: Row) -> None:
    store.record_batch(values.platform, values.batch(values.accepted(1, 10.0, error=0.0)))
    store.record_batch(values.platform, values.batch(values.accepted(2, 10.0, error=0.2)))
    merge(store, [replace(row, platform=values.other_platform)], NOW)
    here, there = summaries(store)
    assert (here.counts.entries, here.counts.imported) == (2, 0)
    assert here.oldest is not None
    assert here.newest is not None
    assert here.oldest < here.newest
    errors = [entry.relative_error for entry in store.entries(values.platform).values()]
    assert here.median_error == pytest.approx(sum(errors) / 2)
    assert (there.counts.entries, there.counts.imported, there.oldest) == (0, 1, row.measured_at)


def test_kernels_by_the_beginning_of_their_key(store: Store, values: Any) -> None:
    results = [values.accepted(n, 10.0) for n in range(1, 40)]
    store.record_batch(values.platform, values.batch(*results))
    kernels = {result.kernel for result in results}
    for prefix in ("", "0", "f", values.kernel(3).key):
        expected = {kernel for kernel in kernels if kernel.key.startswith(prefix)}
        assert set(find_kernels(store, prefix, 50)) == expected
    assert len(find_kernels(store, "", 5)) == 5


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("platform", "{}", "not a platform"),
        ("platform", "", "not a platform"),
        ("kernel", "RELU", "not a kernel"),
        ("latency_us", "fast", "could not convert"),
        ("latency_us", "0.0", "not between"),
        ("latency_us", "1e9", "not between"),
        ("latency_us", "nan", "not finite"),
        ("relative_error", "-0.1", "not a relative error"),
        ("relative_error", "inf", "not finite"),
        ("null_us", "-1", "not between"),
        ("measured_at", "yesterday", "isoformat"),
        ("measured_at", "2024-01-01T00:00:00", "no time zone"),
        ("measured_at", "2099-01-01T00:00:00Z", "future"),
        ("measured_at", "1960-01-01T00:00:00Z", "1970"),
        ("source", "=HYPERLINK()", "source"),
        ("source", "\x1b[2J", "source"),
    ],
)
def test_a_bad_field_is_refused_by_line_and_column(
    row: Row, column: str, value: str, message: str
) -> None:
    good = text_of([row, row]).splitlines()
    fields = next(iter(csv.reader([good[2]])))
    fields[COLUMNS.index(column)] = value
    file = io.StringIO(newline="")
    csv.writer(file).writerow(fields)
    with pytest.raises(ExchangeError, match=rf"line 3, column {column}: .*{message}"):
        read_text("\n".join([*good[:2], file.getvalue()]))


def test_a_platform_that_would_steer_a_terminal_is_refused(row: Row) -> None:
    bad = replace(row, platform=replace(row.platform, soc="\x1b]0;title\x07"))
    with pytest.raises(ExchangeError, match="line 2, column platform: control characters"):
        read_text(text_of([bad]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns"),
        ("a,b\n", "line 1: the columns"),
        (",".join(COLUMNS) + "\n1,2\n", "line 2: 2 fields"),
        (",".join(COLUMNS) + '\n"unfinished', "line 2: "),
    ],
)
def test_files_of_something_else_are_refused(text: str, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        read_text(text)


@given(st.text(max_size=200))
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    for content in (text, ",".join(COLUMNS) + "\n" + text):
        with contextlib.suppress(ExchangeError):
            assert read_text(content) == []
