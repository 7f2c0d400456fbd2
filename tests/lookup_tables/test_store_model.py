"""The store against a model of it in plain Python, under random sequences of operations.

100,000 steps: STORE_MODEL_EXAMPLES=2100 STORE_MODEL_STEPS=50 pytest tests/lookup_tables/...
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lookup_tables import (
    STRIKES,
    Accepted,
    BatchRecord,
    ColdResult,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Reason,
    Rejected,
    Store,
    TableError,
    Tensor,
)
from lookup_tables.exchange import Imported, Row, merge
from lookup_tables.quality import kernel_time

PLATFORMS = [
    Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", backend, 1)
    for backend in ("xnnpack", "builtin")
]
KERNELS = [
    Kernel.make("RELU", [Tensor("float32", (n,))], [Tensor("float32", (n,))]) for n in range(1, 7)
]
ACCEPTED = st.builds(Accepted, st.floats(1e-3, 1e6), st.floats(0, 0.1), st.just(2))
VERDICTS = ACCEPTED | st.builds(Rejected, st.sampled_from(Reason), st.text(max_size=5))
RESULTS = st.lists(
    st.builds(KernelResult, st.sampled_from(KERNELS), st.just(()), VERDICTS),
    max_size=6,
    unique_by=lambda result: result.kernel,
)


def same(row: Row) -> tuple[object, ...]:
    """What makes two imports one."""
    return (row.platform, row.kernel, row.source, row.measured_at, row.latency_us)


COLD = st.lists(
    st.builds(ColdResult, st.sampled_from(KERNELS), st.just(9), st.just(()), VERDICTS),
    max_size=3,
    unique_by=lambda result: result.kernel,
)
# Few different ones, so that the same comes again.
IMPORTS = st.lists(
    st.builds(
        lambda *values, cold: Row(*values, *cold),
        st.sampled_from(PLATFORMS),
        st.sampled_from(KERNELS),
        st.sampled_from([1.0, 2.5, 1e6]),
        st.just(0.01),
        st.sampled_from([0.25, 0.5]),
        st.sampled_from([0.0, 1e9, 2e9]),
        st.sampled_from(["alice", "bob"]),
        cold=st.sampled_from([(None, None), (3.5, 0.01)]),
    ),
    max_size=4,
    unique_by=same,
)
NOW = 2e9

Place = tuple[Platform, Kernel]

NULLS = st.none() | st.builds(
    NullResult, st.just(()), st.builds(Accepted, st.floats(1e-3, 10), st.floats(0, 0.1), st.just(2))
)


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "table.db"
        self.store = Store(self.path)
        # (platform, kernel): latency and null time of its entry, microseconds.
        self.entries: dict[Place, tuple[float, float]] = {}
        # The same with cold weights, where that was measured.
        self.cold: dict[Place, float] = {}
        # What was imported, in the order in which it came.
        self.imports: list[Row] = []
        self.facts: dict[Platform, dict[str, float]] = {p: {} for p in PLATFORMS}
        self.rejected: dict[Platform, list[tuple[Kernel, Reason]]] = {p: [] for p in PLATFORMS}
        self.strikes: Counter[Place] = Counter()
        self.batches = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def null_of(self, platform: Platform) -> float | None:
        nulls = [null for (where, _), (_, null) in self.entries.items() if where == platform]
        return statistics.median(nulls) if nulls else None

    def answers(self, platform: Platform) -> dict[Kernel, tuple[float, float, float | None, str]]:
        """Latency, null time, cold time and source of what the table answers."""
        theirs = [row for row in self.imports if row.platform == platform]
        # Of two imports of one date the later one answers.
        newest = {row.kernel: row for row in sorted(theirs, key=lambda row: row.measured_at)}
        own = {
            kernel: (us, null, self.cold.get((platform, kernel)), "")
            for (where, kernel), (us, null) in self.entries.items()
            if where == platform
        }
        return {
            kernel: (row.latency_us, row.null_us, row.cold_us, row.source)
            for kernel, row in newest.items()
        } | own

    @rule(platform=st.sampled_from(PLATFORMS), results=RESULTS, null=NULLS)
    def record(
        self, platform: Platform, results: list[KernelResult], null: NullResult | None
    ) -> None:
        record = BatchRecord(wall_ms=1.0, null=null, kernels=tuple(results))
        recorded = self.store.record_batch(platform, record)
        self.batches += 1
        assert recorded.batch == self.batches
        null_us = null.verdict.latency_us if null else self.null_of(platform)
        for result in results:
            place, verdict = (platform, result.kernel), result.verdict
            if isinstance(verdict, Accepted) and null_us is not None:
                self.entries[place] = (kernel_time(verdict.latency_us, null_us), null_us)
                self.strikes[place] = 0
                continue
            reason = verdict.reason if isinstance(verdict, Rejected) else Reason.NO_NULL
            self.rejected[platform].append((result.kernel, reason))
            self.strikes[place] += reason.poisonous

    @precondition(lambda self: self.batches)
    @rule(platform=st.sampled_from(PLATFORMS), results=RESULTS)
    def record_what_the_schema_refuses(
        self, platform: Platform, results: list[KernelResult]
    ) -> None:
        bad = KernelResult(KERNELS[0], (), Accepted(-1.0, 0.0, 2))
        others = [result for result in results if result.kernel != bad.kernel]
        null = NullResult((), Accepted(0.5, 0.0, 2))
        try:
            self.store.record_batch(platform, BatchRecord(1.0, null=null, kernels=(*others, bad)))
        except TableError:
            return
        raise AssertionError("a negative latency was stored")

    @rule(platform=st.sampled_from(PLATFORMS), results=COLD)
    def record_cold(self, platform: Platform, results: list[ColdResult]) -> None:
        recorded = self.store.record_batch(platform, BatchRecord(1.0, cold=tuple(results)))
        self.batches += 1
        assert recorded.batch == self.batches
        for result in results:
            place, verdict = (platform, result.kernel), result.verdict
            if isinstance(verdict, Accepted) and place in self.entries:
                self.cold[place] = verdict.latency_us
                continue
            reason = verdict.reason if isinstance(verdict, Rejected) else Reason.INVALID
            self.rejected[platform].append((result.kernel, reason))

    @rule(rows=IMPORTS)
    def bring(self, rows: list[Row]) -> None:
        known = {same(row) for row in self.imports}
        new = [row for row in rows if same(row) not in known]
        own = sum((row.platform, row.kernel) in self.entries for row in new)
        assert merge(self.store, rows, NOW) == Imported(len(new), len(rows) - len(new), own)
        self.imports += new

    @rule(rows=IMPORTS)
    def bring_what_the_schema_refuses(self, rows: list[Row]) -> None:
        bad = Row(PLATFORMS[0], KERNELS[0], -1.0, 0.0, 0.5, 0.0, "colleague")
        try:
            merge(self.store, [*rows, bad], NOW)
        except TableError:
            return
        raise AssertionError("a negative latency was stored")

    @rule(
        platform=st.sampled_from(PLATFORMS),
        name=st.sampled_from(["l2_bytes", "tile"]),
        value=st.floats(0, 1e9),
    )
    def learn(self, platform: Platform, name: str, value: float) -> None:
        self.store.record_fact(platform, name, value, {})
        self.facts[platform][name] = value

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.path)

    @invariant()
    def answers_like_the_model(self) -> None:
        for platform in PLATFORMS:
            found = self.store.entries(platform)
            assert {
                kernel: (e.latency_us, e.null_us, e.cold_us, e.source)
                for kernel, e in found.items()
            } == self.answers(platform)
            assert self.store.entries(platform, KERNELS) == found
            null, expected = self.store.null_time(platform), self.null_of(platform)
            theirs = [row.null_us for row in self.imports if row.platform == platform]
            if expected is None and theirs:
                expected = statistics.median(theirs)
            assert (null.latency_us if null else None) == expected
            facts = self.store.facts(platform)
            assert {name: fact.value for name, fact in facts.items()} == self.facts[platform]
            rejected = self.store.rejections(platform)
            assert [(r.kernel, r.reason) for r in rejected] == self.rejected[platform]
            assert set(self.store.quarantined(platform)) == {
                kernel
                for (where, kernel), count in self.strikes.items()
                if where == platform and count >= STRIKES
            }


StoreModel.TestCase.settings = settings(
    max_examples=int(os.environ.get("STORE_MODEL_EXAMPLES", "25")),
    stateful_step_count=int(os.environ.get("STORE_MODEL_STEPS", "15")),
    suppress_health_check=[HealthCheck.too_slow],
)
TestStoreModel = StoreModel.TestCase
