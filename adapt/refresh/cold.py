"""Times kernels with their weights out of the cache; see `adapt.cost.cold`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapt.cost.cold import CACHE_FACT, copies
from adapt.cost.table import table_errors
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile, Outcome
from adapt.refresh.queue import KernelRun, Refreshed
from adapt.refresh.session import OnProgress, Session
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

    A model with one copy of the kernel and one with enough to empty the cache are timed in the same
    batch: what each further copy adds is the kernel's time, and that of the SLICE behind it, which
    is timed likewise and subtracted. The platform's CACHE_FACT must be known, or else ValueError.
    Retries and errors are those of `measure_kernels`.
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
    """Two models a kernel, and two of slices alone for each type of output."""

    models_each = 2

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
        self.extra = [
            ModelFile(_id(slice_kernel(dtype), count), write_copies(slice_kernel(dtype), count))
            for dtype in dtypes
            for count in (1, SLICE_COPIES)
        ]

    def _copies(self, kernel: Kernel) -> int:
        return copies(weight_bytes(kernel), self._cache)

    def models(self, kernel: Kernel) -> list[ModelFile]:
        return [
            ModelFile(_id(kernel, count), write_copies(kernel, count))
            for count in (1, self._copies(kernel))
        ]

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
        one, many = batch.outcomes[_id(kernel, 1)], batch.outcomes[_id(kernel, count)]
        beside = [self._beside_us(batch, tensor.dtype) for tensor in kernel.outputs]
        verdict = self._difference(one, many, count, beside)
        if verdict is None:
            return None
        return ColdResult(
            kernel, count, one.windows, many.windows, verdict, many.nodes, many.delegated
        )

    def _difference(
        self, one: Outcome, many: Outcome, count: int, beside: Sequence[float | None]
    ) -> Accepted | Rejected | None:
        first, second = self.session.verdict(one), self.session.verdict(many)
        if first is None or second is None:
            return None
        for verdict in (first, second):
            if isinstance(verdict, Rejected):
                return verdict
        assert isinstance(first, Accepted)
        assert isinstance(second, Accepted)
        if (many.nodes, many.delegated) != (count * one.nodes, count * one.delegated):
            return Rejected(
                Reason.INVALID,
                f"of {many.nodes} operators in {count} copies a delegate took {many.delegated},"
                f" of {one.nodes} in one copy {one.delegated}",
            )
        known = [each for each in beside if each is not None]
        if len(known) < len(beside):
            return Rejected(Reason.NO_NULL, "the slices of the batch were not accepted")
        return cold_time(first, second, count, sum(known))

    def _beside_us(self, batch: Batch, dtype: str) -> float | None:
        """Microseconds of one SLICE among others; None where that could not be timed."""
        kernel = slice_kernel(dtype)
        one = self.session.verdict(batch.outcomes[_id(kernel, 1)])
        many = self.session.verdict(batch.outcomes[_id(kernel, SLICE_COPIES)])
        if not (isinstance(one, Accepted) and isinstance(many, Accepted)):
            return None
        return cold_time(one, many, SLICE_COPIES, 0.0).latency_us


def _id(kernel: Kernel, count: int) -> str:
    return f"{kernel.key}.{count}"
