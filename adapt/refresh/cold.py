"""Times kernels with their weights out of the cache; see `adapt.cost.cold`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapt.cost.cold import CACHE_FACT, copies
from adapt.cost.table import table_errors
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile, Outcome
from adapt.refresh.queue import KernelRun, Refreshed
from adapt.refresh.session import NULL_ID, OnProgress, Session
from adapt.tflite.copies import slice_kernel, write_copies
from adapt.tflite.quantities import weight_bytes
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Accepted, Reason, Rejected, cold_time
from lookup_tables.records import ColdResult, Recorded
from lookup_tables.store import Store

__all__ = ["SLICE_COPIES", "measure_cold"]

# One SLICE takes hundredths of a microsecond: so many give a time that can be told from noise.
SLICE_COPIES = 33


def measure_cold(
    store: Store,
    device: Device,
    kernels: Iterable[Kernel],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Refreshed:
    """Add to the entries of `kernels`, which have weights, the time that they take with cold ones.

    A model with enough copies of the kernel to empty the cache is timed: less the null op, each
    takes the kernel's time and that of the SLICE behind it, which is timed likewise and subtracted.
    (One copy alone would tell nothing: its weights are warm.) The platform's CACHE_FACT must be
    known, or else ValueError. Retries and errors are those of `measure_kernels`.
    """
    wanted = list(dict.fromkeys(kernels))
    if not wanted:
        return Refreshed()
    session = Session.open(store, device, options or MeasureOptions())
    with table_errors():
        facts = store.facts(session.platform)
    if CACHE_FACT not in facts:
        raise ValueError(f"{CACHE_FACT} of {session.platform} is not known")
    return _ColdRun(session, wanted, on_progress, facts[CACHE_FACT].value).run()


class _ColdRun(KernelRun):
    """One model a kernel, and one of slices alone for each type of output."""

    def __init__(
        self,
        session: Session,
        kernels: Sequence[Kernel],
        on_progress: OnProgress | None,
        cache: float,
    ) -> None:
        super().__init__(session, kernels, on_progress)
        self._cache = cache
        dtypes = sorted({tensor.dtype for kernel in kernels for tensor in kernel.outputs})
        self.extra = [_model(slice_kernel(dtype), SLICE_COPIES) for dtype in dtypes]

    def _copies(self, kernel: Kernel) -> int:
        return copies(weight_bytes(kernel), self._cache)

    def models(self, kernel: Kernel) -> list[ModelFile]:
        return [_model(kernel, self._copies(kernel))]

    def record(self, batch: Batch, kernels: Iterable[Kernel]) -> tuple[Recorded, list[Kernel]]:
        results: list[ColdResult] = []
        waiting: list[Kernel] = []
        for kernel in kernels:
            result = self._result(batch, kernel)
            if result is None:
                waiting.append(kernel)
            else:
                results.append(result)
        return self.session.record(batch, cold=results), waiting

    def _result(self, batch: Batch, kernel: Kernel) -> ColdResult | None:
        """What came of `kernel`; None where its turn did not come."""
        count = self._copies(kernel)
        outcome = batch.outcomes[_id(kernel, count)]
        verdict = self.session.verdict(outcome)
        if verdict is None:
            return None
        if isinstance(verdict, Accepted):
            verdict = self._each_copy(batch, kernel, verdict, outcome)
        return ColdResult(kernel, count, outcome.windows, verdict, outcome.nodes, outcome.delegated)

    def _each_copy(
        self, batch: Batch, kernel: Kernel, together: Accepted, outcome: Outcome
    ) -> Accepted | Rejected:
        count = self._copies(kernel)
        if outcome.nodes % count or outcome.delegated % count:
            return Rejected(
                Reason.INVALID,
                f"of {outcome.nodes} operators in {count} copies a delegate took"
                f" {outcome.delegated}: not as many of each copy",
            )
        null = self.session.verdict(batch.outcomes[NULL_ID])
        beside = [self._beside_us(batch, tensor.dtype) for tensor in kernel.outputs]
        known = [each for each in beside if each is not None]
        if not isinstance(null, Accepted) or len(known) < len(beside):
            return Rejected(Reason.NO_NULL, "null op or slices of the batch were not accepted")
        return cold_time(together, count, null, sum(known))

    def _beside_us(self, batch: Batch, dtype: str) -> float | None:
        """Microseconds of one SLICE among others; None where that could not be timed."""
        slices = self.session.verdict(batch.outcomes[_id(slice_kernel(dtype), SLICE_COPIES)])
        null = self.session.verdict(batch.outcomes[NULL_ID])
        if not (isinstance(slices, Accepted) and isinstance(null, Accepted)):
            return None
        return cold_time(slices, SLICE_COPIES, null, 0.0).latency_us


def _model(kernel: Kernel, count: int) -> ModelFile:
    return ModelFile(_id(kernel, count), write_copies(kernel, count))


def _id(kernel: Kernel, count: int) -> str:
    return f"{kernel.key}.{count}"
