"""Exercising and estimating on a simulated device: time and energy are the test's."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.energy import Energy, UnsteadyError, estimate
from device_agent.exercise import (
    MIN_RUN_SLICES,
    REST_SLICES,
    RUN_SLICES,
    Clock,
    Exercise,
    Schedule,
    perform,
)
from device_agent.power.meter import MeterError, Trace

MS = 1_000_000
SCHEDULE = Schedule(settle_ms=250, rest_ms=1_000, run_ms=2_000)
IDLE_MW = 800.0


@dataclass
class Bench:
    """A device with a clock and a meter; `idle_mw` is its idle power at an instant in ms."""

    idle_mw: Callable[[float], float] = lambda _: IDLE_MW
    now: int = 0
    used_uj: float = 0.0
    instants: list[int] = field(default_factory=lambda: [0])
    energies: list[float] = field(default_factory=lambda: [0.0])
    signs_of_life: list[int] = field(default_factory=list)

    def spend(self, ns: int, extra_uj: float = 0.0) -> None:
        self.used_uj += self.idle_mw(self.now / MS) * ns / MS + extra_uj
        self.now += ns
        self.instants.append(self.now)
        self.energies.append(self.used_uj)

    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda seconds: self.spend(round(seconds * 1e9)))

    def model(self, ns: int, uj: float) -> Callable[[], None]:
        return lambda: self.spend(ns, uj)

    def alive(self) -> None:
        self.signs_of_life.append(self.now)

    def exercise(self, ns: int, uj: float, schedule: Schedule = SCHEDULE) -> Exercise:
        return perform(self.model(ns, uj), 1, schedule, self.clock(), self.alive)

    def trace(self, step_uj: float = 0.0, step_mw: float = 0.0) -> Trace:
        return Trace(tuple(self.instants), tuple(self.energies), step_uj, step_mw)


def per_inference(found: Energy) -> float:
    """As the contract says."""
    idle = (found.idle_before_mw + found.idle_after_mw) / 2
    return (found.run_uj - idle * found.run_ms) / found.invokes


def test_the_exercise_rests_runs_and_rests() -> None:
    bench = Bench()
    done = bench.exercise(MS, 0)
    assert [b - a for a, b in pairwise(done.before)] == [250 * MS] * REST_SLICES
    assert done.before[0] == 250 * MS
    assert done.run[0] == done.before[-1] + 250 * MS
    assert [b - a for a, b in pairwise(done.run)] == [250 * MS] * RUN_SLICES
    assert done.invokes == (250,) * RUN_SLICES
    assert done.after[0] == done.run[-1] + 250 * MS
    assert bench.now == SCHEDULE.total_ms * MS


@pytest.mark.parametrize("run_ms", [4_000, 40_000])
def test_signs_of_life_come_at_least_every_two_seconds(run_ms: int) -> None:
    bench = Bench()
    bench.exercise(MS, 0, Schedule(settle_ms=3_000, rest_ms=run_ms // 2, run_ms=run_ms))
    assert max(b - a for a, b in pairwise([0, *bench.signs_of_life])) <= 2_000 * MS


def test_a_model_slower_than_a_slice_runs_often_enough() -> None:
    bench = Bench()
    done = bench.exercise(3_000 * MS, 5_000)
    assert done.invokes == (1,) * MIN_RUN_SLICES
    assert len(bench.signs_of_life) >= MIN_RUN_SLICES
    assert per_inference(estimate(bench.trace(), done)) == pytest.approx(5_000)


@pytest.mark.parametrize("ns", [130 * MS, 240 * MS, 260 * MS, 700 * MS, 1_999 * MS])
def test_slices_of_slow_models_each_hold_a_whole_run(ns: int) -> None:
    done = Bench().exercise(ns, 0)
    assert min(done.invokes) >= 1
    assert len(done.invokes) >= MIN_RUN_SLICES
    assert done.run[-1] - done.run[0] == sum(done.invokes) * ns


def test_the_collector_rests_while_the_model_runs() -> None:
    bench, states = Bench(), []

    def invoke() -> None:
        states.append(gc.isenabled())
        bench.spend(MS)

    perform(invoke, 1, SCHEDULE, bench.clock(), bench.alive)
    assert not any(states)
    assert gc.isenabled()


def test_a_steady_device_gives_the_energy_of_the_model() -> None:
    bench = Bench()
    done = bench.exercise(MS, 150.0)
    found = estimate(bench.trace(), done)
    assert per_inference(found) == pytest.approx(150.0)
    assert (found.idle_before_mw, found.idle_after_mw) == pytest.approx((IDLE_MW, IDLE_MW))
    assert (found.run_ms, found.invokes) == (2_000, 2_000)
    assert found.run_uj == pytest.approx(2_000 * (IDLE_MW + 150))
    assert found.error_uj == pytest.approx(0, abs=1e-6)


def test_what_happens_while_the_device_settles_does_not_count() -> None:
    # Clocks stay high for 200 ms after the run, and rise 200 ms after its begin.
    bench = Bench(lambda ms: 3_000 if 3_500 < ms < 3_700 or ms < 200 else IDLE_MW)
    done = bench.exercise(MS, 150.0)
    assert done.run[-1] == 3_500 * MS
    assert per_inference(estimate(bench.trace(), done)) == pytest.approx(150.0)


def test_idle_power_that_drifts_is_taken_half_way_and_stated() -> None:
    bench = Bench(lambda ms: IDLE_MW + ms / 50)
    done = bench.exercise(MS, 500.0)
    found = estimate(bench.trace(), done)
    drift = found.idle_after_mw - found.idle_before_mw
    assert drift == pytest.approx(70, rel=0.1)
    # The bench's power changes at the end of each sleep alone, half a sleep late.
    assert per_inference(found) == pytest.approx(500.0, abs=3)
    assert found.error_uj >= drift / 2 / 3**0.5


def test_a_drift_that_swamps_the_model_is_refused() -> None:
    bench = Bench(lambda ms: IDLE_MW if ms < 3_000 else 3 * IDLE_MW)
    done = bench.exercise(MS, 150.0)
    with pytest.raises(UnsteadyError, match=r"800\.0 mW before and 2400\.0 mW after"):
        estimate(bench.trace(), done)


def test_a_model_that_takes_nothing_is_refused() -> None:
    bench = Bench()
    done = bench.exercise(MS, 0.0)
    with pytest.raises(UnsteadyError, match="idle power"):
        estimate(bench.trace(), done)


@pytest.mark.parametrize(
    ("grain", "error"),
    # Of the counter: in the run and, for each millisecond, in both rests. Of power: all the time.
    [({"step_uj": 10_000.0}, 12.2), ({"step_mw": 20.0}, 20.0)],
)
def test_the_grain_of_the_meter_is_stated(grain: dict[str, float], error: float) -> None:
    bench = Bench()
    done = bench.exercise(MS, 150.0)
    found = estimate(bench.trace(**grain), done)
    assert found.error_uj == pytest.approx(error, rel=0.3)
    coarse = {name: 100 * step for name, step in grain.items()}
    with pytest.raises(UnsteadyError):
        estimate(bench.trace(**coarse), done)


def test_a_trace_that_ends_too_early_is_no_reading() -> None:
    bench = Bench()
    done = bench.exercise(MS, 150.0)
    trace = Trace(tuple(bench.instants[:100]), tuple(bench.energies[:100]))
    with pytest.raises(MeterError, match="whole time"):
        estimate(trace, done)


def test_the_stated_error_covers_the_true_one_as_often_as_it_says() -> None:
    generator = random.Random(1)
    inside = 0
    for _ in range(100):
        level = {"mw": IDLE_MW}

        def wander(_: float, level: dict[str, float] = level) -> float:
            level["mw"] += generator.gauss(0, 3)
            return level["mw"] + generator.gauss(0, 100)

        bench = Bench(wander)
        done = bench.exercise(20 * MS, 20_000.0)
        found = estimate(bench.trace(), done)
        inside += abs(per_inference(found) - 20_000) <= found.error_uj
    # 68 % for a standard uncertainty of normal errors.
    assert 55 <= inside <= 88


WORDS = asdict(Bench().exercise(MS, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"before": []},
        {"run": [1]},
        {"invokes": WORDS["invokes"][1:]},
        {"invokes": [0] * RUN_SLICES},
        {"invokes": [2**60] * RUN_SLICES},
        {"invokes": [1.5] * RUN_SLICES},
        {"invokes": "x" * RUN_SLICES},
        {"before": [True, 2]},
        {"before": [2, 1]},
        {"after": [1, 2]},
        {"before": list(range(2_000))},
        {"after": None},
    ],
)
def test_what_no_worker_says_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Exercise.parse(WORDS | change)


def test_what_a_worker_says_comes_through() -> None:
    assert asdict(Exercise.parse(WORDS)) == WORDS
    with pytest.raises(LookupError):
        Exercise.parse({"before": [1, 2]})


@given(
    st.integers(1, 3_000).map(lambda ms: ms * MS),
    st.floats(0, 1e6),
    st.lists(st.floats(0, 1e4), min_size=1, max_size=9),
)
def test_a_result_is_always_above_nothing_and_known_to_half(
    ns: int, uj: float, levels: list[float]
) -> None:
    bench = Bench(lambda ms: levels[int(ms / 500) % len(levels)])
    done = bench.exercise(ns, uj, Schedule(100, 400, 500))
    try:
        found = estimate(bench.trace(), done)
    except UnsteadyError:
        return
    assert per_inference(found) > 0
    assert found.error_uj <= 0.5 * per_inference(found) * (1 + 1e-9)
