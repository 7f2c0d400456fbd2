"""What is measured anew, and what first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.cost.cold import CACHE_FACT
from adapt.refresh.agenda import (
    UNSURE_SHARE,
    Cause,
    Contents,
    Task,
    old_energies,
    old_facts,
    plan,
)
from adapt.tflite.ops import make_kernel
from lookup_tables import Drift, Entry, Fact, Kernel, Tensor

DAY = 86_400.0
WEEK = 7 * DAY
NOW = 1_700_000_000.0
NOTHING = Contents()
CACHE = {CACHE_FACT: Fact(65_536.0, NOW, {})}


def dense(units: int, dtype: str = "float32") -> Kernel:
    """With 256 bytes of weights a unit in float32, a quarter of that in int8."""
    operands = [Tensor(dtype, (1, 64)), Tensor(dtype, (units, 64), True), None]
    return make_kernel("FULLY_CONNECTED", operands, [Tensor(dtype, (1, units))])


A, B, C, D = (dense(units) for units in (64, 80, 96, 112))
FRESH = Entry(10.0, 0.002, 0.2, 1, NOW - DAY)


def aged(days: float, **changes: Any) -> Entry:
    return replace(FRESH, measured_at=NOW - days * DAY, **changes)


def cooled(entry: Entry, days: float) -> Entry:
    """With a cold time that was measured so many days ago."""
    return replace(entry, cold_us=12.0, cold_error=0.01, cold_at=NOW - days * DAY)


def drift(days: float, op: str = "", dtype: str = "") -> Drift:
    return Drift(op, dtype, 1.2, NOW - days * DAY, {})


def due(own: Contents, before: Contents = NOTHING) -> list[tuple[Kernel, Cause]]:
    return [(task.kernel, task.cause) for task in plan(own, before, NOW, WEEK).due]


def test_a_fresh_table_needs_nothing() -> None:
    agenda = plan(Contents({A: FRESH, B: aged(6.9)}), NOTHING, NOW, WEEK)
    assert (agenda.tasks, agenda.quarantined) == ([], 0)
    assert plan(NOTHING, NOTHING, NOW, WEEK).tasks == []


def test_old_entries_and_those_of_a_clock_that_was_ahead() -> None:
    own = Contents({A: aged(7.1), B: FRESH, C: aged(-0.5), D: aged(-30)})
    assert due(own) == [(A, Cause.STALE), (D, Cause.STALE)]


def test_a_drift_outdates_what_was_measured_before() -> None:
    entries = {A: aged(3), B: aged(1), C: aged(9)}
    assert due(Contents(entries, [drift(2)])) == [(C, Cause.DRIFTED), (A, Cause.DRIFTED)]
    assert due(Contents({A: aged(1), B: aged(9)}, [drift(2)])) == [(B, Cause.DRIFTED)]


def test_a_drift_outdates_cold_times() -> None:
    own = Contents({A: cooled(aged(1), 3), B: cooled(aged(1), 1)}, [drift(2)], facts=CACHE)
    assert plan(own, NOTHING, NOW, WEEK).due == [Task(A, Cause.DRIFTED, hot=False, cold=True)]


def test_a_drift_of_one_kind_leaves_others_alone() -> None:
    other = dense(64, "int8")
    entries = {A: aged(3), other: aged(3)}
    assert due(Contents(entries, [drift(2, "FULLY_CONNECTED", "int8")])) == [(other, Cause.DRIFTED)]
    assert due(Contents(entries, [drift(2, "CONV_2D", "float32")])) == []
    both = [drift(2, "FULLY_CONNECTED", "int8"), drift(4)]
    assert due(Contents(entries, both)) == [(other, Cause.DRIFTED)]


def test_the_most_used_come_first_and_then_the_oldest() -> None:
    own = Contents({A: aged(8), B: aged(9), C: aged(10), D: aged(8)}, uses={D: 5, A: 2})
    before = Contents(uses={A: 9})
    assert [kernel for kernel, _ in due(own, before)] == [A, D, C, B]


def test_the_most_urgent_come_first() -> None:
    entries = {A: aged(3), B: aged(8), C: aged(1, relative_error=0.015)}
    own = Contents(entries, [drift(2, "FULLY_CONNECTED", "float32")])
    agenda = plan(replace(own, uses={C: 99}), Contents({D: FRESH}), NOW, WEEK)
    causes = [task.cause for task in agenda.tasks]
    assert causes == [Cause.ABSENT, Cause.DRIFTED, Cause.DRIFTED, Cause.UNSURE]
    assert causes == sorted(causes, key=list(Cause).index)


@given(st.integers(1, 150), st.integers(0, 150))
def test_few_doubtful_entries_a_night_and_other_ones_in_the_next(sure: int, doubtful: int) -> None:
    entries = {dense(n): FRESH for n in range(1, sure + 1)}
    entries |= {
        dense(n, "int8"): aged(2 + n / 1000, relative_error=0.015) for n in range(1, doubtful + 1)
    }
    first = plan(Contents(entries), NOTHING, NOW, WEEK)
    assert first.due == []
    assert len(first.doubtful) == min(doubtful, max(1, int(UNSURE_SHARE * len(entries))))
    entries |= {t.kernel: aged(0, relative_error=0.015) for t in first.doubtful}
    second = plan(Contents(entries), NOTHING, NOW + DAY, WEEK)
    if len(first.doubtful) * 2 <= doubtful:
        assert not {t.kernel for t in first.doubtful} & {t.kernel for t in second.doubtful}


def test_a_tiny_kernel_is_not_doubted_for_its_size() -> None:
    tiny = replace(FRESH, latency_us=0.01, relative_error=0.15)
    assert plan(Contents({A: tiny}), NOTHING, NOW, WEEK).tasks == []


def test_what_brings_the_agent_down_is_not_asked_for() -> None:
    own = Contents({A: aged(8), B: aged(8)}, quarantined={A, C})
    agenda = plan(own, Contents({C: FRESH}), NOW, WEEK)
    assert [task.kernel for task in agenda.tasks] == [B]
    assert agenda.quarantined == 2


def test_a_new_platform_takes_over_what_was_in_use() -> None:
    own = Contents({A: FRESH})
    before = Contents({A: FRESH, B: aged(90), C: FRESH}, uses={A: 1, C: 2, B: 1})
    assert due(own, before) == [(C, Cause.ABSENT), (B, Cause.ABSENT)]
    assert due(own, replace(before, uses={C: 1})) == [(C, Cause.ABSENT)]
    assert {kernel for kernel, _ in due(own, replace(before, uses={}))} == {B, C}
    assert due(Contents(dict.fromkeys((A, B, C), FRESH)), before) == []


@pytest.mark.parametrize(
    ("own", "task"),
    [
        ({}, Task(A, Cause.ABSENT, hot=True, cold=True)),
        ({A: FRESH}, Task(A, Cause.ABSENT, hot=False, cold=True)),
        ({A: replace(FRESH, source="bob")}, Task(A, Cause.ABSENT, hot=True, cold=True)),
        ({A: cooled(FRESH, 1)}, None),
        ({A: cooled(aged(8), 8)}, Task(A, Cause.STALE, hot=True, cold=True)),
        ({A: cooled(aged(8), 1)}, Task(A, Cause.STALE, hot=True, cold=False)),
        ({A: cooled(FRESH, 8)}, Task(A, Cause.STALE, hot=False, cold=True)),
        ({A: cooled(FRESH, -30)}, Task(A, Cause.STALE, hot=False, cold=True)),
    ],
)
def test_hot_and_cold_times_grow_old_each_by_itself(
    own: dict[Kernel, Entry], task: Task | None
) -> None:
    before = Contents({A: replace(FRESH, cold_us=15.0)})
    due = plan(Contents(own, facts=CACHE), before, NOW, WEEK).due
    assert due == ([] if task is None else [task])


def test_cold_times_that_help_nobody_are_left_out() -> None:
    before = Contents({A: replace(FRESH, cold_us=15.0), dense(1): replace(FRESH, cold_us=1.0)})
    own = Contents({A: FRESH, dense(1): FRESH}, facts=CACHE)
    assert [task.kernel for task in plan(own, before, NOW, WEEK).due] == [A]
    assert plan(replace(own, never_cold={A}), before, NOW, WEEK).due == []
    assert plan(replace(own, facts={}), before, NOW, WEEK).due == []
    small = {CACHE_FACT: Fact(8192.0, NOW, {})}
    assert plan(replace(own, facts=small), before, NOW, WEEK).due == []


def test_facts_grow_old_and_are_taken_over() -> None:
    own = Contents(facts={"old": Fact(1.0, NOW - 8 * DAY, {}), "new": Fact(1.0, NOW - DAY, {})})
    before = Contents(facts={"new": Fact(2.0, NOW - 90 * DAY, {}), "only": Fact(2.0, NOW, {})})
    assert sorted(old_facts(own, before, NOW, WEEK)) == ["old", "only"]


def metered(days: float, meter: str = "rapl") -> Entry:
    """A fresh time with an energy that was measured so many days ago."""
    told = {"energy_uj": 5.0, "energy_error": 0.1, "energy_meter": meter}
    return replace(FRESH, **told, energy_at=NOW - days * DAY)


def test_energies_grow_old_and_drift_like_times() -> None:
    own = Contents({A: metered(8), B: metered(3), C: metered(9, "odpm"), D: FRESH}, uses={A: 1})
    assert list(old_energies(own, NOTHING, NOW, WEEK).items()) == [(A, "rapl"), (C, "odpm")]
    drifted = replace(own, drifts=[drift(2, "FULLY_CONNECTED", "float32")])
    assert list(old_energies(drifted, NOTHING, NOW, WEEK)) == [A, C, B]
    assert list(old_energies(replace(own, quarantined={A}), NOTHING, NOW, WEEK)) == [C]


def test_a_new_platform_takes_over_the_energies_in_use() -> None:
    before = Contents({A: metered(1), B: metered(1), C: metered(1)}, uses={A: 1, B: 2})
    assert list(old_energies(NOTHING, before, NOW, WEEK)) == [B, A]
    assert list(old_energies(Contents({A: FRESH, B: metered(1)}), before, NOW, WEEK)) == [A]
