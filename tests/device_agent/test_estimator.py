"""The estimator on synthetic clocks: every nanosecond is the test's."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.estimator import (
    MAX_INVOKES_PER_SAMPLE,
    MIN_SAMPLE_NS,
    MIN_SAMPLES,
    MIN_WINDOWS,
    SPREAD_NS,
    Clock,
    Plan,
    Subject,
    Window,
    agrees,
    calibrate,
    interleave,
    quantile,
    summarise,
    time_window,
    was_preempted,
)

MS = 1_000_000


@dataclass
class Machine:
    """A simulated core: running a model costs its time, and more during a burst of contention.

    `bursts` are (from, to, extra, preempting): in between each run takes `extra` nanoseconds more,
    as CPU time too unless the burst is preempting.
    """

    wall: int = 0
    cpu: int = 0
    bursts: list[tuple[int, int, int, bool]] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(self._read_wall, lambda: self.cpu)

    def _read_wall(self) -> int:
        self.spend(30)
        return self.wall

    def spend(self, ns: int, wall_only: int = 0) -> None:
        self.wall += ns + wall_only
        self.cpu += ns

    def model(self, ns: int) -> object:
        def invoke() -> None:
            self.spend(ns)
            for begin, end, extra, preempting in self.bursts:
                if begin <= self.wall < end:
                    self.spend(0, extra) if preempting else self.spend(extra)

        return invoke


@dataclass
class Record:
    """Listens, and remembers."""

    started: list[str] = field(default_factory=list)
    windows: dict[str, list[Window]] = field(default_factory=dict)
    converged: dict[str, bool] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    signs_of_life: int = 0

    def starting(self, model_id: str, stage: str) -> None:
        assert stage == "window"
        self.started.append(model_id)

    def alive(self) -> None:
        self.signs_of_life += 1

    def timed(self, model_id: str, window: Window) -> None:
        self.windows.setdefault(model_id, []).append(window)

    def left(self, model_id: str, converged: bool) -> None:
        self.converged[model_id] = converged

    def refused(self, model_id: str, error: Exception) -> None:
        self.errors[model_id] = str(error)


def plan(**changes: object) -> Plan:
    usual = {
        "target_relative_error": 0.005,
        "max_windows": 12,
        "window_us": 5_000,
        "start_ns": 0,
        "deadline_ns": 10_000 * MS,
    }
    return Plan(**(usual | changes))


def run(machine: Machine, times: dict[str, int], **changes: object) -> Record:
    clock, record = machine.clock(), Record()
    subjects = [
        Subject(name, machine.model(ns), calibrate(machine.model(ns), clock))
        for name, ns in times.items()
    ]
    interleave(subjects, plan(**changes), clock, record)
    return record


def test_a_quiet_machine_needs_the_fewest_windows() -> None:
    record = run(Machine(), {"a": 50_000, "b": 700})
    assert record.converged == {"a": True, "b": True}
    assert [len(w) for w in record.windows.values()] == [MIN_WINDOWS, MIN_WINDOWS]
    assert record.windows["a"][0].low_us == pytest.approx(50.03, abs=0.05)
    assert record.windows["b"][0].low_us == pytest.approx(0.7, rel=0.01)
    assert record.windows["b"][0].cpu_us == pytest.approx(0.7, rel=0.02)


def test_rounds_interleave_the_models_and_skip_the_settled() -> None:
    machine = Machine()
    growing = iter(range(1, 10_000_000))

    def never_the_same() -> None:
        machine.spend(100_000 + 500 * next(growing))

    clock, record = machine.clock(), Record()
    subjects = [
        Subject("steady", machine.model(50_000), 1),
        Subject("unsteady", never_the_same, 1),
    ]
    interleave(subjects, plan(max_windows=6), clock, record)
    assert record.started[:8] == ["steady", "unsteady"] * 4
    assert record.started[8:] == ["unsteady", "unsteady"]
    assert record.converged == {"steady": True, "unsteady": False}


def test_windows_of_one_model_lie_apart() -> None:
    record = run(Machine(), {"alone": 50_000})
    starts = [w.start_ms for w in record.windows["alone"]]
    assert min(b - a for a, b in pairwise(starts)) >= SPREAD_NS / MS


def test_preempted_samples_do_not_count() -> None:
    machine = Machine(bursts=[(0, 3 * MS, 400_000, True), (60 * MS, 62 * MS, 90_000, True)])
    record = run(machine, {"a": 50_000})
    assert sum(w.preempted for w in record.windows["a"]) > 0
    assert all(w.preempted < w.samples for w in record.windows["a"])
    assert record.windows["a"][-1].low_us == pytest.approx(50.03, abs=0.05)


def test_a_burst_costs_more_windows_and_is_not_believed() -> None:
    steps = ((0, 40, 10_000), (40, 90, 5_000), (90, 140, 2_000))
    machine = Machine(bursts=[(a * MS, b * MS, extra, False) for a, b, extra in steps])
    record = run(machine, {"a": 50_000})
    lows = [w.low_us for w in record.windows["a"]]
    assert len(lows) == MIN_WINDOWS + 1
    assert max(lows) == pytest.approx(60, rel=0.01)
    assert sorted(lows)[:2] == pytest.approx([50.03, 50.03], abs=0.05)
    assert record.converged == {"a": True}


def test_a_wholly_preempted_window_is_told_but_settles_nothing() -> None:
    machine = Machine(bursts=[(0, 10_000 * MS, 30_000, True)])
    record = run(machine, {"a": 50_000}, max_windows=3)
    assert record.converged == {"a": False}
    assert len(record.windows["a"]) == 3
    for window in record.windows["a"]:
        assert window.preempted == window.samples
        assert window.low_us == pytest.approx(80.03, abs=0.1)


def test_with_threads_waiting_is_no_preemption() -> None:
    machine = Machine(bursts=[(0, 10_000 * MS, 30_000, True)])
    record = run(machine, {"a": 50_000}, filter_preempted=False)
    assert record.converged == {"a": True}
    assert record.windows["a"][0].preempted == 0
    assert record.windows["a"][0].cpu_us == pytest.approx(50, rel=0.01)


def test_a_slow_model_gets_three_samples_a_window_and_signs_of_life() -> None:
    record = run(Machine(), {"slow": 150 * MS})
    assert [w.samples for w in record.windows["slow"]] == [MIN_SAMPLES] * MIN_WINDOWS
    assert record.signs_of_life == MIN_WINDOWS * MIN_SAMPLES


def test_the_deadline_ends_a_window_early_and_starts_no_other() -> None:
    record = run(Machine(), {"slow": 300 * MS, "late": 50_000}, deadline_ns=1_000 * MS)
    assert [w.samples for w in record.windows["slow"]] == [1]
    assert "late" not in record.windows
    assert record.converged == {}


def test_what_an_earlier_worker_timed_counts() -> None:
    machine, record = Machine(), Record()
    subject = Subject("a", machine.model(50_000), 1, windows=3, lows=[60.0, 50.03, 70.0])
    interleave([subject], plan(), machine.clock(), record)
    assert record.converged == {"a": True}
    assert len(record.windows["a"]) == 1


def test_two_windows_are_enough_where_no_more_are_allowed() -> None:
    record = run(Machine(), {"a": 50_000}, max_windows=2)
    assert record.converged == {"a": True}
    assert len(record.windows["a"]) == 2


def test_a_model_that_fails_leaves_the_others_alone() -> None:
    machine, record = Machine(), Record()

    def fails() -> None:
        raise RuntimeError("no kernel")

    subjects = [Subject("bad", fails, 1), Subject("good", machine.model(50_000), 1)]
    interleave(subjects, plan(), machine.clock(), record)
    assert record.errors == {"bad": "no kernel"}
    assert record.converged == {"good": True}


def test_want_of_memory_is_not_the_models_fault() -> None:
    def greedy() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        interleave([Subject("a", greedy, 1)], plan(), Machine().clock(), Record())
    assert gc.isenabled()


def test_the_collector_rests_while_timing() -> None:
    machine, states = Machine(), []

    def invoke() -> None:
        states.append(gc.isenabled())
        machine.spend(50_000)

    interleave([Subject("a", invoke, 1)], plan(), machine.clock(), Record())
    assert not any(states)
    assert gc.isenabled()


@pytest.mark.parametrize("ns", [1, 40, 440, 3_000, 19_000, 20_000, 5 * MS])
def test_samples_are_long_enough_for_the_clock(ns: int) -> None:
    machine = Machine()
    runs = calibrate(machine.model(ns), machine.clock())
    assert runs * ns >= 0.9 * MIN_SAMPLE_NS or runs == MAX_INVOKES_PER_SAMPLE
    assert runs == 1 or runs * ns <= 8 * MIN_SAMPLE_NS


def test_a_clock_that_stands_still_ends_the_search() -> None:
    assert calibrate(lambda: None, Clock(lambda: 0, lambda: 0)) == MAX_INVOKES_PER_SAMPLE


def test_the_window_begins_after_a_run_that_fills_the_caches() -> None:
    machine, runs = Machine(), []

    def cold_first() -> None:
        machine.spend(50_000 if runs else 900_000)
        runs.append(1)

    window = time_window(Subject("a", cold_first, 1), plan(), machine.clock(), lambda: None)
    assert window.median_us == pytest.approx(50.03, abs=0.05)
    assert len(runs) == window.samples + 1


@pytest.mark.parametrize(
    ("wall", "cpu", "preempted"),
    [
        (20_000, 18_600, False),
        (20_000, 18_400, True),
        (1_000_000, 981_000, False),
        (1_000_000, 979_000, True),
        (20_000, 20_400, False),
    ],
)
def test_what_counts_as_preempted(wall: int, cpu: int, preempted: bool) -> None:
    assert was_preempted(wall, cpu) is preempted


def test_two_lowest_windows_must_agree() -> None:
    assert not agrees([10.0], 0.5)
    assert agrees([12.0, 10.0, 10.04], 0.005)
    assert not agrees([12.0, 10.0, 10.06], 0.005)


pairs = st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**9)), min_size=1, max_size=50)


@given(pairs, st.integers(1, 1000), st.booleans())
def test_statistics_are_ordered_whatever_the_samples(
    samples: list[tuple[int, int]], runs: int, filtered: bool
) -> None:
    window = summarise(samples, runs, 0.0, filtered)
    walls = [wall / runs / 1000 for wall, _ in samples]
    assert min(walls) <= window.min_us <= window.low_us <= window.median_us <= max(walls)
    assert 0 <= window.preempted <= window.samples == len(samples)
    assert filtered or window.preempted == 0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0, 1))
def test_quantile_agrees_with_numpy(values: list[float], share: float) -> None:
    import numpy as np

    expected = np.quantile(values, share)
    assert quantile(sorted(values), share) == pytest.approx(expected, abs=1e-6)
