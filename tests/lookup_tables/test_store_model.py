"""The store against a model of it in plain Python, under random sequences of operations.

A long run: STORE_MODEL_EXAMPLES=2000 STORE_MODEL_STEPS=50 pytest tests/lookup_tables/...
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
        self.entries: dict[tuple[Platform, Kernel], tuple[float, float]] = {}
        self.rejected: dict[Platform, list[tuple[Kernel, Reason]]] = {p: [] for p in PLATFORMS}
        self.strikes: Counter[tuple[Platform, Kernel]] = Counter()
        self.batches = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def null_of(self, platform: Platform) -> float | None:
        nulls = [null for (where, _), (_, null) in self.entries.items() if where == platform]
        return statistics.median(nulls) if nulls else None

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

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.path)

    @invariant()
    def answers_like_the_model(self) -> None:
        for platform in PLATFORMS:
            found = self.store.entries(platform)
            assert {(platform, k): (e.latency_us, e.null_us) for k, e in found.items()} == {
                place: entry for place, entry in self.entries.items() if place[0] == platform
            }
            assert self.store.entries(platform, KERNELS) == found
            null = self.store.null_time(platform)
            assert (null.latency_us if null else None) == self.null_of(platform)
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
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStoreModel = StoreModel.TestCase
