"""Turns kernels that a table lacks into entries."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapt.cost.table import table_errors
from adapt.errors import InputError
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile
from adapt.refresh.session import OnProgress, Session
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Reason, Rejected
from lookup_tables.records import Entry, KernelResult
from lookup_tables.store import Store

__all__ = ["MAX_ATTEMPTS", "MAX_BATCH_KERNELS", "Refreshed", "measure_kernels"]

# A batch costs the start of a worker (0.3 s) and interleaves its windows, so many kernels are cheap
# together and each meets different moments. But a batch is also what a kill loses: seconds of work.
MAX_BATCH_KERNELS = 64

# Contention or a thermal limit has passed by the second or third batch. What is rejected this often
# needs a person: another device, fewer threads, a quieter machine.
MAX_ATTEMPTS = 3


@dataclass
class Refreshed:
    """What became of the kernels to be measured.

    Attributes:
        measured: those that the table now answers, with what it answers.
        failed: the others, each with the last reason.
        batches: batches recorded.
        device_ms: time that the device spent on them, milliseconds.
    """

    measured: dict[Kernel, Entry] = field(default_factory=dict)
    failed: dict[Kernel, Rejected] = field(default_factory=dict)
    batches: int = 0
    device_ms: float = 0.0


def measure_kernels(
    store: Store,
    device: Device,
    kernels: Iterable[Kernel],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Refreshed:
    """Measure `kernels` on `device` and record them under the platform that `options` select.

    A kernel that is rejected is tried again in a later batch, MAX_ATTEMPTS times in all; one that
    is quarantined is not tried. Raises DeviceError or Busy where the device fails as a whole, and
    TableError where the table does; the batches recorded until then stay.
    """
    wanted = list(dict.fromkeys(kernels))
    if not wanted:
        return Refreshed()
    session = Session.open(store, device, options or MeasureOptions())
    run = _Run(session, len(wanted), on_progress)
    with table_errors():
        quarantined = store.quarantined(session.platform)
    for kernel in wanted:
        if kernel in quarantined:
            run.fail(kernel, quarantined[kernel])
        else:
            run.queue.append(kernel)
    while run.queue:
        run.next_batch()
    return run.summary


class _Run:
    """One call of `measure_kernels`: what is still to do, and what came of the rest."""

    def __init__(self, session: Session, total: int, on_progress: OnProgress | None) -> None:
        self.queue: deque[Kernel] = deque()
        self.summary = Refreshed()
        self._session = session
        self._total = total
        self._on_progress = on_progress
        self._shown = 0
        self._attempts: Counter[Kernel] = Counter()

    def fail(self, kernel: Kernel, verdict: Rejected) -> None:
        """Give `kernel` up."""
        self.summary.failed[kernel] = verdict
        self._report()

    def next_batch(self) -> None:
        """Measure and record what fits in one batch, and queue again what deserves it."""
        models = self._take()
        if not models:
            return
        files = [ModelFile(kernel.key, content) for kernel, content in models.items()]
        batch = self._session.measure(files, self._report)
        results, waiting = self._sort(batch, models)
        recorded = self._session.record(batch, kernels=results)
        self.summary.batches += 1
        self.summary.device_ms += batch.wall_ms
        self.summary.measured.update(recorded.accepted)
        for kernel, rejection in recorded.rejected.items():
            self._retry(kernel, rejection)
        self._wait(waiting, progressed=bool(results))
        self._report()

    def _take(self) -> dict[Kernel, bytes]:
        """The next kernels of the queue, with their models, as many as fit in one batch."""
        places, room = self._session.room
        largest = min(self._session.description.limits.max_model_bytes, room)
        models: dict[Kernel, bytes] = {}
        while self.queue and len(models) < min(places, MAX_BATCH_KERNELS):
            kernel = self.queue[0]
            content = self._write(kernel, largest)
            if content is not None:
                if len(content) > room:
                    break
                room -= len(content)
                models[kernel] = content
            self.queue.popleft()
        return models

    def _write(self, kernel: Kernel, largest: int) -> bytes | None:
        """The model of `kernel`; None, and the kernel given up, where there can be none."""
        try:
            content = write_kernel(kernel)
        except InputError as error:
            self.fail(kernel, Rejected(Reason.REFUSED, error.what))
            return None
        if len(content) > largest:
            detail = f"its model has {len(content)} bytes, the device takes {largest}"
            self.fail(kernel, Rejected(Reason.REFUSED, detail))
            return None
        return content

    def _sort(
        self, batch: Batch, kernels: Iterable[Kernel]
    ) -> tuple[list[KernelResult], list[Kernel]]:
        """Results of the kernels whose turn came, and those whose turn did not."""
        results: list[KernelResult] = []
        waiting: list[Kernel] = []
        for kernel in kernels:
            outcome = batch.outcomes[kernel.key]
            verdict = self._session.verdict(outcome)
            if verdict is None:
                waiting.append(kernel)
                continue
            results.append(
                KernelResult(kernel, outcome.windows, verdict, outcome.nodes, outcome.delegated)
            )
        return results, waiting

    def _retry(self, kernel: Kernel, rejection: Rejected) -> None:
        self._attempts[kernel] += 1
        if self._attempts[kernel] < MAX_ATTEMPTS:
            self.queue.append(kernel)
        else:
            self.fail(kernel, rejection)

    def _wait(self, kernels: Sequence[Kernel], *, progressed: bool) -> None:
        """Put kernels whose turn did not come first; it costs an attempt only if nobody's came."""
        if progressed:
            self.queue.extendleft(reversed(kernels))
            return
        for kernel in kernels:
            self._retry(kernel, Rejected(Reason.TOO_FEW_WINDOWS, "the time limit came first"))

    def _report(self, settled_in_batch: int = 0) -> None:
        """Say how far it is; what is tried again does not make the number fall."""
        settled = len(self.summary.measured) + len(self.summary.failed) + settled_in_batch
        self._shown = max(self._shown, min(settled, self._total))
        if self._on_progress is not None:
            self._on_progress(self._shown, self._total)
