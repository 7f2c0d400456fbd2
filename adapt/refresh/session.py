"""One device, one table and one set of options: a batch goes out, is judged and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from adapt.cost.table import table_errors
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
from lookup_tables.energy import EnergyRun
from lookup_tables.kernel import Platform
from lookup_tables.quality import Accepted, Reason, Rejected, judge
from lookup_tables.records import (
    BatchRecord,
    ColdResult,
    EnergyResult,
    KernelResult,
    NetworkResult,
    NullResult,
    Recorded,
)
from lookup_tables.store import Store

__all__ = ["NULL_ID", "OnProgress", "Session"]

# Model id of the null op; kernels go by their key, which is hexadecimal.
NULL_ID = "null"

# Called with the number of kernels or networks settled, and of all.
OnProgress = Callable[[int, int], None]

_FAULTS: Mapping[Status, Reason] = {
    Status.CRASHED: Reason.CRASHED,
    Status.HUNG: Reason.HUNG,
    Status.REFUSED: Reason.REFUSED,
}


@dataclass(frozen=True)
class Session:
    """A device and a table, ready to measure under one platform."""

    store: Store
    device: Device
    options: MeasureOptions
    platform: Platform
    description: Description
    null_model: ModelFile

    @classmethod
    def open(cls, store: Store, device: Device, options: MeasureOptions) -> Session:
        """Ask the device who it is; DeviceError where it does not answer."""
        return cls(
            store,
            device,
            options,
            platform=device.platform(options.backend, options.threads, options.core_mask),
            description=device.describe(),
            null_model=ModelFile(NULL_ID, write_kernel(null_kernel())),
        )

    @property
    def room(self) -> tuple[int, int]:
        """Models that one batch takes beside the null op, and their bytes."""
        limits = self.description.limits
        return limits.max_models - 1, limits.max_batch_bytes - len(self.null_model.content)

    def measure(
        self, models: Sequence[ModelFile], on_progress: Callable[[int], None] | None = None
    ) -> Batch:
        """Time `models` and the null op in one batch; `on_progress` gets the models answered."""

        def report(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress.settled)

        return self.device.measure([self.null_model, *models], self.options, report)

    def verdict(self, outcome: Outcome) -> Accepted | Rejected | None:
        """What to think of an outcome; None where the model's turn did not come."""
        if outcome.status == Status.NOT_STARTED:
            return None
        if outcome.status in _FAULTS:
            signal = f"signal {outcome.signal}: " if outcome.signal else ""
            return Rejected(_FAULTS[outcome.status], f"{signal}{outcome.detail}")
        return judge(outcome.windows, target_relative_error=self.options.target_relative_error)

    def record(
        self,
        batch: Batch,
        *,
        kernels: Sequence[KernelResult] = (),
        cold: Sequence[ColdResult] = (),
        networks: Sequence[NetworkResult] = (),
        energy: Sequence[EnergyResult] = (),
        null_energy: EnergyRun | None = None,
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
            cold=tuple(cold),
            networks=tuple(networks),
            energy=tuple(energy),
            null_energy=null_energy,
        )
        with table_errors():
            return self.store.record_batch(self.platform, record)
