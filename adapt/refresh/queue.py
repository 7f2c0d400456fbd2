"""Items that are measured batch by batch until each is settled, whatever the device does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adapt.errors import InputError
from adapt.fleet.device import Batch, ModelFile
from adapt.refresh.session import OnProgress, Session
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Reason, Rejected
from lookup_tables.records import Entry, Recorded

__all__ = ["MAX_ATTEMPTS", "MAX_BATCH_KERNELS", "MAX_FAULTS", "KernelRun", "Refreshed"]

# A batch costs the start of a worker (0.3 s) and interleaves its windows, so many kernels are cheap
# together and each meets different moments. But a batch is also what a kill loses: seconds of work.
MAX_BATCH_KERNELS = 64

# Contention or a thermal limit has mostly passed by the second or third batch, but there are bursts
# of seconds in which a kernel was rejected three times in a row, and whole batches for their null
# op. What is rejected this often needs a person: another device, fewer threads, a quieter machine.
MAX_ATTEMPTS = 8
_OF_THE_MOMENT = frozenset({Reason.UNSTEADY, Reason.PREEMPTED, Reason.CLOCK, Reason.NO_NULL})

# Rejections for any other reason speak of the model or of the device, and come again.
MAX_FAULTS = 3


@dataclass
class Refreshed:
    """What became of the kernels to be measured.

    Attributes:
        measured: those that the table now answers, with what it answers.
        failed: the others, each with the last reason.
        unmetered: those whose energy could not be measured, each with the last reason, where that
            was asked for beside other things.
        batches: batches recorded.
        device_ms: time that the device spent on them, milliseconds.
    """

    measured: dict[Kernel, Entry] = field(default_factory=dict)
    failed: dict[Kernel, Rejected] = field(default_factory=dict)
    unmetered: dict[Kernel, Rejected] = field(default_factory=dict)
    batches: int = 0
    device_ms: float = 0.0


class KernelRun(ABC):
    """What is still to measure, and what came of the rest; says how by its abstract methods."""

    # Models beside those of the kernels, in every batch.
    extra: Sequence[ModelFile] = ()
    # Kernels of one batch, at the most.
    batch_kernels = MAX_BATCH_KERNELS

    def __init__(
        self, session: Session, kernels: Sequence[Kernel], on_progress: OnProgress | None
    ) -> None:
        self.queue: deque[Kernel] = deque(kernels)
        self.summary = Refreshed()
        self.session = session
        self._total = len(kernels)
        self._on_progress = on_progress
        self._shown = 0
        self._attempts: Counter[Kernel] = Counter()
        self._faults: Counter[Kernel] = Counter()

    @abstractmethod
    def models(self, kernel: Kernel) -> list[ModelFile]:
        """The models that time `kernel`; InputError where there can be none."""

    @abstractmethod
    def record(self, batch: Batch, kernels: Iterable[Kernel]) -> tuple[Recorded, list[Kernel]]:
        """Judge and store a batch of `kernels`; also return those whose turn did not come."""

    def run(self) -> Refreshed:
        """Measure until the queue is empty."""
        while self.queue:
            self.next_batch()
        return self.summary

    def fail(self, kernel: Kernel, verdict: Rejected) -> None:
        """Give `kernel` up."""
        self.summary.failed[kernel] = verdict
        self._report()

    def next_batch(self) -> None:
        """Measure and record what fits in one batch, and queue again what deserves it."""
        models = self._take()
        if not models:
            return
        files = [file for each in models.values() for file in each]
        batch = self.session.measure([*self.extra, *files], self._report)
        recorded, waiting = self.record(batch, models)
        self.summary.batches += 1
        self.summary.device_ms += batch.wall_ms
        self.summary.measured.update(recorded.accepted)
        for kernel, rejection in recorded.rejected.items():
            self._retry(kernel, rejection)
        self._wait(waiting, progressed=len(waiting) < len(models))
        self._report()

    def _take(self) -> Mapping[Kernel, list[ModelFile]]:
        """The next kernels of the queue, with their models, as many as fit in one batch."""
        places, room = self.session.room
        places -= len(self.extra)
        room -= sum(len(file.content) for file in self.extra)
        taken: dict[Kernel, list[ModelFile]] = {}
        while self.queue and len(taken) < self.batch_kernels:
            kernel = self.queue[0]
            files = self._write(kernel, places, room, first=not taken)
            if files is not None:
                size = sum(len(file.content) for file in files)
                if size > room or len(files) > places:
                    break
                room -= size
                places -= len(files)
                taken[kernel] = files
            self.queue.popleft()
        return taken

    def _write(
        self, kernel: Kernel, places: int, room: int, *, first: bool
    ) -> list[ModelFile] | None:
        """The models of `kernel`; None, and the kernel given up, where the device takes none."""
        try:
            files = self.models(kernel)
        except InputError as error:
            self.fail(kernel, Rejected(Reason.REFUSED, error.what))
            return None
        largest = max(len(file.content) for file in files)
        total = sum(len(file.content) for file in files)
        limit = self.session.description.limits.max_model_bytes
        # What does not fit in an empty batch never will.
        if largest > limit or (first and (total > room or len(files) > places)):
            detail = f"its model has {largest} bytes, the device takes {min(limit, room)}"
            self.fail(kernel, Rejected(Reason.REFUSED, detail))
            return None
        return files

    def _retry(self, kernel: Kernel, rejection: Rejected) -> None:
        self._attempts[kernel] += 1
        self._faults[kernel] += rejection.reason not in _OF_THE_MOMENT
        if self._attempts[kernel] < MAX_ATTEMPTS and self._faults[kernel] < MAX_FAULTS:
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
        done = len(self.summary.measured) + len(self.summary.failed)
        settled = done + settled_in_batch
        self._shown = max(self._shown, min(settled, self._total))
        if self._on_progress is not None:
            self._on_progress(self._shown, self._total)
