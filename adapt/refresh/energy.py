"""Runs kernels under the device's meter; see `lookup_tables.energy`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from adapt.errors import DeviceError
from adapt.fleet.device import Batch, Device, EnergyStatus, MeasureOptions, ModelFile, Outcome
from adapt.refresh.queue import KernelRun, Refreshed
from adapt.refresh.session import NULL_ID, OnProgress, Session
from adapt.tflite.writer import write_kernel
from lookup_tables.energy import EnergyRun, judge_energy
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Reason, Rejected
from lookup_tables.records import EnergyResult, Recorded
from lookup_tables.store import Store

__all__ = ["BATCH_KERNELS", "ENERGY_MS", "MeterError", "measure_energy", "metering_s"]

# How long a kernel runs under the meter. With the rests before and after it takes twice as long.
ENERGY_MS = 5_000

# A kill loses a batch: no more than a minute or two of work.
BATCH_KERNELS = 6

# What one model takes at the most beside its run and rests: the slowest meter settles three times.
_SETTLE_MS = 9_000

# The kernels are timed as well, though nothing is made of it: as few windows as can be.
_WINDOWS = 2

# For loading and timing.
_SPARE_MS = 20_000


class MeterError(DeviceError):
    """The device has no meter, or one that cannot be used now."""


def metering_s(kernels: int) -> float:
    """Seconds that a batch of so many kernels, and the null op, takes at the least."""
    return (kernels + 1) * 2 * ENERGY_MS * 1e-3


def measure_energy(
    store: Store,
    device: Device,
    kernels: Iterable[Kernel],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Refreshed:
    """Add to the entries of `kernels` what they take by the device's meter.

    Each runs for `options.energy_ms`, or for ENERGY_MS where that is 0. Raises MeterError where
    the device has no meter, or one that cannot be used now, as while the battery is charged.
    Retries and other errors are those of `measure_kernels`.
    """
    wanted = list(dict.fromkeys(kernels))
    if not wanted:
        return Refreshed()
    options = options or MeasureOptions()
    session = Session.open(store, device, options)
    if not session.description.identity.meters:
        raise no_meter(device.name)
    energy_ms = options.energy_ms or ENERGY_MS
    batch_ms = (BATCH_KERNELS + 1) * (2 * energy_ms + _SETTLE_MS) + _SPARE_MS
    limit_ms = session.description.limits.max_time_limit_ms
    metered = replace(
        options,
        energy_ms=energy_ms,
        max_windows=_WINDOWS,
        time_limit_ms=min(max(batch_ms, options.time_limit_ms), limit_ms),
    )
    return _EnergyRun(replace(session, options=metered), wanted, on_progress).run()


def no_meter(name: str) -> MeterError:
    """The error for a device without a meter."""
    return MeterError(
        f"{name} has no energy meter that can be read",
        "RAPL needs an agent that runs as root, most other meters a kernel driver.",
    )


class _EnergyRun(KernelRun):
    """One model a kernel, and the null op, each for seconds."""

    batch_kernels = BATCH_KERNELS

    def models(self, kernel: Kernel) -> list[ModelFile]:
        return [ModelFile(kernel.key, write_kernel(kernel))]

    def record(self, batch: Batch, kernels: Iterable[Kernel]) -> tuple[Recorded, list[Kernel]]:
        results: list[EnergyResult] = []
        waiting: list[Kernel] = []
        for kernel in kernels:
            verdict = self._verdict(batch.outcomes[kernel.key])
            if verdict is None:
                waiting.append(kernel)
            else:
                results.append(EnergyResult(kernel, verdict))
        null = self._verdict(batch.outcomes[NULL_ID])
        recorded = self.session.record(
            batch, energy=results, null_energy=null if isinstance(null, EnergyRun) else None
        )
        # Only now: what was measured before the charger came is worth keeping.
        self._refuse_useless(batch)
        return recorded, waiting

    def _verdict(self, outcome: Outcome) -> EnergyRun | Rejected | None:
        """What to think of an outcome; None where the model's turn did not come."""
        timed = self.session.verdict(outcome)
        if isinstance(timed, Rejected) and timed.reason.poisonous:
            return timed
        energy = outcome.energy
        if energy is None or energy.status is EnergyStatus.NOT_STARTED:
            return None
        if energy.run is None:
            return Rejected(Reason.UNSTEADY, f"{energy.status}: {energy.detail}")
        return judge_energy(energy.run) or energy.run

    def _refuse_useless(self, batch: Batch) -> None:
        """Raise DeviceError where the fault is not a kernel's: every other would share it."""
        name = self.session.device.name
        for outcome in batch.outcomes.values():
            if outcome.energy is None:
                continue
            match outcome.energy.status:
                case EnergyStatus.NO_METER:
                    raise no_meter(name)
                case EnergyStatus.CHARGING:
                    raise MeterError(
                        f"the energy meter of {name} cannot be used now: {outcome.energy.detail}",
                        "Unplug it, then try again.",
                    )
