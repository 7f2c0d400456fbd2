"""Turns kernels that a table lacks into entries."""

from __future__ import annotations

from collections.abc import Iterable

from adapt.cost.table import table_errors
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile
from adapt.refresh.queue import KernelRun, Refreshed
from adapt.refresh.session import OnProgress, Session
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel
from lookup_tables.records import KernelResult, Recorded
from lookup_tables.store import Store

__all__ = ["measure_kernels"]


def measure_kernels(
    store: Store,
    device: Device,
    kernels: Iterable[Kernel],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Refreshed:
    """Measure `kernels` on `device` and record them under the platform that `options` select.

    A kernel that is rejected is tried again in a later batch, MAX_ATTEMPTS times in all, MAX_FAULTS
    where it is not for the noise; one that is quarantined is not tried. Raises DeviceError or Busy
    where the device fails as a whole, and TableError where the table does; the batches recorded
    until then stay.
    """
    wanted = list(dict.fromkeys(kernels))
    if not wanted:
        return Refreshed()
    session = Session.open(store, device, options or MeasureOptions())
    with table_errors():
        quarantined = store.quarantined(session.platform)
    run = _HotRun(session, wanted, on_progress)
    for kernel in wanted:
        if kernel in quarantined:
            run.queue.remove(kernel)
            run.fail(kernel, quarantined[kernel])
    return run.run()


class _HotRun(KernelRun):
    """One model a kernel: it runs alone in a loop."""

    def models(self, kernel: Kernel) -> list[ModelFile]:
        return [ModelFile(kernel.key, write_kernel(kernel))]

    def record(self, batch: Batch, kernels: Iterable[Kernel]) -> tuple[Recorded, list[Kernel]]:
        results: list[KernelResult] = []
        waiting: list[Kernel] = []
        for kernel in kernels:
            outcome = batch.outcomes[kernel.key]
            verdict = self.session.verdict(outcome)
            if verdict is None:
                waiting.append(kernel)
                continue
            results.append(
                KernelResult(kernel, outcome.windows, verdict, outcome.nodes, outcome.delegated)
            )
        return self.session.record(batch, kernels=results), waiting
