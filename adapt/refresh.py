"""Turns kernels that a table lacks into entries, and measures whole networks.

The device gets one-op models in bounded batches, each with the null op among them; every batch is
recorded before the next begins, so a kill loses the work of one batch at most.
"""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from adapt.cost.table import table_errors
from adapt.errors import DeviceError, InputError
from adapt.fleet.device import (
    Batch,
    Description,
    Device,
    MeasureOptions,
    ModelFile,
    Outcome,
    Progress,
    Status,
)
from adapt.tflite.writer import null_kernel, write_kernel
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Accepted, Reason, Rejected, judge
from lookup_tables.records import (
    BatchRecord,
    Entry,
    KernelResult,
    NetworkResult,
    NullResult,
    Recorded,
)
from lookup_tables.store import Store

__all__ = ["NetworkLatency", "Refreshed", "measure_kernels", "measure_network", "measure_networks"]

# A batch costs a worker start (0.3 s) and interleaves its windows: many kernels are cheap together
# and meet different moments. But it is also what a kill loses: some seconds of work at this size.
MAX_BATCH_KERNELS = 64

# Contention or a thermal limit passes by the second or third batch. What is rejected this often
# needs a person: another device, fewer threads, or a quieter machine.
MAX_ATTEMPTS = 3

# Whole networks are measured in so many worker processes: the placement of their memory differs
# from process to process and moves large networks by up to 3 %.
NETWORK_REPEATS = 3

# Model ids of a batch; kernels go by their key, which is hexadecimal.
NULL_ID = "null"
NETWORK_ID = "network-{}"

# Called with the kernels (or networks) settled and their number in all.
OnProgress = Callable[[int, int], None]

_FAULTS: Mapping[Status, Reason] = {
    Status.CRASHED: Reason.CRASHED,
    Status.HUNG: Reason.HUNG,
    Status.REFUSED: Reason.REFUSED,
}


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


@dataclass(frozen=True)
class NetworkLatency:
    """A whole network on a device.

    Attributes:
        sha256: of its .tflite file, hexadecimal.
        latency_us: median over the runs, microseconds, calling the runtime included.
        relative_error: range of the runs as a share of the median, or the largest error within
            a run if that is more.
        runs: accepted measurements, each in a process of its own.
    """

    sha256: str
    latency_us: float
    relative_error: float
    runs: int


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
    TableError where the table does; batches recorded until then stay.
    """
    wanted = list(dict.fromkeys(kernels))
    if not wanted:
        return Refreshed()
    session = _Session.open(store, device, options or MeasureOptions())
    run = _KernelRun(session, len(wanted), on_progress)
    with table_errors():
        quarantined = store.quarantined(session.platform)
    for kernel in wanted:
        if kernel in quarantined:
            run.fail(kernel, quarantined[kernel])
        else:
            run.queue.append(kernel)
    while run.queue:
        run.batch()
    return run.summary


@dataclass(frozen=True)
class _Session:
    """A device and a table, ready to measure with one set of options."""

    store: Store
    device: Device
    options: MeasureOptions
    platform: Platform
    description: Description

    @classmethod
    def open(cls, store: Store, device: Device, options: MeasureOptions) -> _Session:
        description = device.describe()
        platform = device.platform(options.backend, options.threads, options.core_mask)
        return cls(store, device, options, platform, description)

    def measure(
        self, models: Sequence[ModelFile], on_progress: Callable[[Progress], None] | None = None
    ) -> Batch:
        """Time `models` and the null op in one batch."""
        null = ModelFile(NULL_ID, write_kernel(null_kernel()))
        return self.device.measure([null, *models], self.options, on_progress)

    def verdict(self, outcome: Outcome) -> Accepted | Rejected | None:
        """What to think of an outcome; None where the model's turn did not come."""
        if outcome.status == Status.NOT_STARTED:
            return None
        if outcome.status in _FAULTS:
            signal = f"signal {outcome.signal}: " if outcome.signal else ""
            return Rejected(_FAULTS[outcome.status], f"{signal}{outcome.detail}")
        return judge(
            outcome.windows, target_relative_error=self.options.target_relative_error
        )

    def record(
        self,
        batch: Batch,
        kernels: Sequence[KernelResult] = (),
        networks: Sequence[NetworkResult] = (),
    ) -> Recorded:
        """Store what came of a batch."""
        null = batch.outcomes[NULL_ID]
        verdict = self.verdict(null)
        record = BatchRecord(
            wall_ms=batch.wall_ms,
            before=asdict(batch.before),
            after=asdict(batch.after),
            facts={
                "device": self.device.name,
                "identity": asdict(self.description.identity),
                "options": asdict(self.options),
            },
            null=NullResult(null.windows, verdict) if isinstance(verdict, Accepted) else None,
            kernels=tuple(kernels),
            networks=tuple(networks),
        )
        with table_errors():
            return self.store.record_batch(self.platform, record)


class _KernelRun:
    """One call of `measure_kernels`: what is still to do, and what came of the rest."""

    def __init__(self, session: _Session, total: int, on_progress: OnProgress | None) -> None:
        self.queue: deque[Kernel] = deque()
        self.summary = Refreshed()
        self._session = session
        self._total = total
        self._on_progress = on_progress
        self._attempts: Counter[Kernel] = Counter()

    def fail(self, kernel: Kernel, verdict: Rejected) -> None:
        """Give `kernel` up."""
        self.summary.failed[kernel] = verdict
        self._report(0)

    def batch(self) -> None:
        """Measure and record what fits in one batch, and queue again what deserves it."""
        models = self._take()
        if not models:
            return
        files = [ModelFile(kernel.key, content) for kernel, content in models.items()]
        batch = self._session.measure(files, lambda progress: self._report(progress.settled))
        results: list[KernelResult] = []
        unstarted: list[Kernel] = []
        for kernel in models:
            outcome = batch.outcomes[kernel.key]
            verdict = self._session.verdict(outcome)
            if verdict is None:
                unstarted.append(kernel)
            else:
                results.append(
                    KernelResult(
                        kernel, outcome.windows, verdict, outcome.nodes, outcome.delegated
                    )
                )
        recorded = self._session.record(batch, results)
        self.summary.batches += 1
        self.summary.device_ms += batch.wall_ms
        self.summary.measured.update(recorded.accepted)
        for kernel, rejection in recorded.rejected.items():
            self._retry(kernel, rejection)
        self._wait(unstarted, progressed=bool(results))
        self._report(0)

    def _take(self) -> dict[Kernel, bytes]:
        """The next kernels of the queue, with their models, as many as fit in one batch."""
        limits = self._session.description.limits
        # One place and some bytes are the null op's.
        places = min(MAX_BATCH_KERNELS, limits.max_models - 1)
        room = limits.max_batch_bytes - len(write_kernel(null_kernel()))
        models: dict[Kernel, bytes] = {}
        while self.queue and len(models) < places:
            kernel = self.queue.popleft()
            try:
                content = write_kernel(kernel)
            except InputError as error:
                self.fail(kernel, Rejected(Reason.REFUSED, str(error)))
                continue
            if len(content) > min(limits.max_model_bytes, limits.max_batch_bytes - room):
                pass
            if len(content) > room:
                self.queue.appendleft(kernel)
                break
            room -= len(content)
            models[kernel] = content
        return models

    def _retry(self, kernel: Kernel, rejection: Rejected) -> None:
        self._attempts[kernel] += 1
        if self._attempts[kernel] < MAX_ATTEMPTS:
            self.queue.append(kernel)
        else:
            self.fail(kernel, rejection)

    def _wait(self, kernels: Sequence[Kernel], *, progressed: bool) -> None:
        """Queue kernels whose turn did not come first; an attempt only if nobody's did."""
        if progressed:
            self.queue.extendleft(reversed(kernels))
            return
        for kernel in kernels:
            self._retry(kernel, Rejected(Reason.TOO_FEW_WINDOWS, "the time limit came first"))

    def _report(self, settled_in_batch: int) -> None:
        if self._on_progress is not None:
            settled = len(self.summary.measured) + len(self.summary.failed) + settled_in_batch
            self._on_progress(min(settled, self._total), self._total)
