"""What tells a job the costs of networks: a device that measures, or a model that needs none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from adapt.cost.base import CostModel, Missing
from adapt.cost.chain import Chain
from adapt.cost.counts import MacCount
from adapt.cost.energy import TableEnergy
from adapt.cost.eyeriss.model import EyerissCost
from adapt.cost.offline import EYERISS, ON_EYERISS, on_eyeriss
from adapt.cost.table import TableLatency, table_errors
from adapt.errors import Busy, DeviceError, TableError
from adapt.fleet.choice import DeviceChoice
from adapt.fleet.cores import on_cores
from adapt.fleet.device import Device, MeasureOptions
from adapt.job.account import Ledger
from adapt.job.listener import Listener
from adapt.job.prices import PriceFile
from adapt.job.request import JobRequest
from adapt.job.result import Measured
from adapt.refresh import (
    Refreshed,
    fill,
    measure_missing,
    measure_networks,
    side_by_side,
)
from lookup_tables.kernel import Kernel
from lookup_tables.store import Store

__all__ = ["OnDevice", "OnEyeriss", "Yardstick"]

# Within this share the latency of a network must be known, nine times in ten, while a job searches;
# an iteration tightens its constraint by a few percent.
_MAX_ERROR = 0.03

# Bytes of a batch that are left for the null op, which takes some hundred.
_NULL_ROOM = 1 << 20

# Measuring goes on a little further, so that a price that was not good enough is after it.
_FILL_UNTIL = 0.025


class Yardstick(Protocol):
    """What a job goes by, of one device.

    Attributes:
        platform: for people, and to know again.
        told_by: what tells a resource that neither this device nor counting does, for people.
        models: what prices networks while a job searches.
        room: bytes of the whole .tflite files that can be timed in turns; 0 where none can.
    """

    @property
    def room(self) -> int:
        """See above."""
        ...

    platform: str
    told_by: Mapping[str, str]
    models: tuple[CostModel, ...]

    def measure(self, lack: Missing) -> None:
        """Measure what a price lacked; DeviceError where that cannot be."""
        ...

    def models_now(self, kernels: Iterable[Kernel]) -> tuple[CostModel, ...]:
        """What prices networks of `kernels` at the end, these measured anew."""
        ...

    def latencies_now(self, kernels: Sequence[Kernel]) -> list[float | None]:
        """What each of `kernels`, those of one network, adds to its latency, us; None if unknown.

        By what `models_now` had measured.
        """
        ...

    def whole(self, contents: Sequence[bytes]) -> list[Measured | None]:
        """The .tflite files `contents` as measured beside the first; None where they cannot be."""
        ...

    def known(self, sha256: str, beside: str) -> tuple[float, float] | None:
        """Latencies of two .tflite files measured side by side, us; None if too rarely."""
        ...

    def close(self) -> None:
        """The job needs no more prices."""
        ...


class OnEyeriss:
    """The analytic model of the Eyeriss chip: nothing is measured, and nothing lacks."""

    room = 0
    platform = "the Eyeriss chip, by its analytic model (no device, nothing measured)"

    def __init__(self) -> None:
        offline = on_eyeriss()
        self.told_by, self.models = offline.told_by, offline.models

    def measure(self, lack: Missing) -> None:
        """There is nothing that could lack."""
        raise lack

    def models_now(self, kernels: Iterable[Kernel]) -> tuple[CostModel, ...]:
        """The same model: it has no minutes."""
        return self.models

    def latencies_now(self, kernels: Sequence[Kernel]) -> list[float | None]:
        """By the model."""
        return [Chain(self.models, ["latency"]).price([k])["latency"].value for k in kernels]

    def whole(self, contents: Sequence[bytes]) -> list[Measured | None]:
        """Nothing is measured."""
        return [None] * len(contents)

    def known(self, sha256: str, beside: str) -> tuple[float, float] | None:
        """Nothing was measured."""
        return None

    def close(self) -> None:
        """There is nothing to let go of."""


class OnDevice:
    """A device and the table of what was measured on it."""

    @property
    def room(self) -> int:
        """What the device takes in one batch, less the null op's place in it."""
        return self._device.describe().limits.max_batch_bytes - _NULL_ROOM

    def __init__(
        self,
        request: JobRequest,
        choice: DeviceChoice,
        prices: PriceFile,
        store: Store,
        device: Device,
        listener: Listener,
        ledger: Ledger,
    ) -> None:
        """Asks `device`, which is that of `choice`, who it is; `prices` are those kept of it."""
        self._request, self._choice = request, choice
        self._store, self._device = store, device
        self._listener, self._ledger = listener, ledger
        self._options = on_cores(
            MeasureOptions(
                backend=choice.backend,
                threads=choice.threads,
                core_mask=choice.core_mask,
            ),
            choice.cores,
            device,
        )
        options = self._options
        self._platform = device.platform(options.backend, options.threads, options.core_mask)
        self.platform = str(self._platform)
        modelled = request.energy == EYERISS and "energy" in request.priced
        self.told_by: Mapping[str, str] = {"energy": ON_EYERISS} if modelled else {}
        table = (
            TableLatency(store, self._platform)
            if request.exact
            else TableLatency(store, self._platform, max_error=_MAX_ERROR, kept=prices)
        )
        self._tables = [table]
        self.models = self._cost_models(table)

    def models_now(self, kernels: Iterable[Kernel]) -> tuple[CostModel, ...]:
        """Models over entries of `kernels` that are a few minutes old.

        A device is some percent faster in one hour than in another: a prediction that stands beside
        a measurement has to come from the same minutes.
        """
        kernels = list(kernels)
        with table_errors():
            entries = self._store.entries(self._platform, kernels)
        cold = [kernel for kernel in kernels if kernel in entries and entries[kernel].cold_us]
        self._timed(Missing(kernels, cold=cold))
        table = TableLatency(self._store, self._platform)
        self._tables.append(table)
        return self._cost_models(table)

    def latencies_now(self, kernels: Sequence[Kernel]) -> list[float | None]:
        """By the table."""
        answers, _ = TableLatency(self._store, self._platform).answers(kernels)
        return [None if answer is None else answer.latency_us for answer in answers]

    def whole(self, contents: Sequence[bytes]) -> list[Measured | None]:
        """Time whole networks in turns; none where one is too large for the device."""
        label = self._choice.label
        most = min(self.room, self._device.describe().limits.max_model_bytes)
        if (largest := max(map(len, contents))) > most:
            self._listener.notify(
                f"whole networks of {largest} bytes are too large to be timed on {label}"
            )
            return [None] * len(contents)
        self._listener.notify(f"timing whole networks on {label}")
        latencies = measure_networks(self._store, self._device, contents, options=self._options)
        whole = latencies[0].latency_us
        # Ratios hold on a device that drifts.
        return [
            Measured(
                sha256=each.sha256,
                latency_us=each.latency_us if each.share is None else whole * each.share,
                relative_error=each.relative_error,
                runs=each.runs,
            )
            for each in latencies
        ]

    def known(self, sha256: str, beside: str) -> tuple[float, float] | None:
        """Medians over the batches that had both, at least as many as most of a measurement has."""
        with table_errors():
            mine, others = (
                {run.batch: run.latency_us for run in self._store.networks(self._platform, digest)}
                for digest in (sha256, beside)
            )
        return side_by_side(mine, others)

    def measure(self, lack: Missing) -> None:
        """Measure what `lack` names; DeviceError where the device cannot."""
        refreshed = self._timed(lack)
        for kernel, verdict in refreshed.unmetered.items():
            raise DeviceError(
                f"{self._device.name} could not tell the energy of the kernel {kernel}"
                f" ({verdict.reason}: {verdict.detail})",
                "Quieten the device: its power at rest must be steady.",
            )
        failed = refreshed.failed
        # Where a cold time cannot be had, the hot one stands for it.
        for kernel in failed.keys() - set(lack.cold):
            verdict = failed[kernel]
            raise DeviceError(
                f"{self._device.name} could not time the kernel {kernel}"
                f" ({verdict.reason}: {verdict.detail})",
                "Quieten the device, or use another backend in a new job.",
            )

    def close(self) -> None:
        """Note which kernels the job asked for."""
        asked = {kernel for table in self._tables for kernel in table.asked}
        # Uses only tell a refresh where to begin: no reason for a job to fail.
        with suppress(TableError, Busy), table_errors():
            self._store.record_uses(self._platform, asked)

    def _cost_models(self, table: TableLatency) -> tuple[CostModel, ...]:
        """What can price a network; energy by a model, or only where the device has a meter."""
        if self._request.energy == EYERISS:
            return (table, MacCount(), EyerissCost())
        # The first of its meters is the one that measures.
        meters = self._device.describe().identity.meters[:1]
        energies = (TableEnergy(self._store, table, meter.name) for meter in meters)
        return (table, MacCount(), *energies)

    def _timed(self, lack: Missing) -> Refreshed:
        with self._ledger.timed("measuring"):
            if lack.networks:
                others = Missing(facts=lack.facts, pairs=lack.pairs)
                if others:  # What filling does not ask about, since its guesses are others.
                    measure_missing(self._store, self._device, others, options=self._options)
                return self._filled(lack)
            refreshed = measure_missing(
                self._store,
                self._device,
                lack,
                options=self._options,
                on_progress=self._told,
            )
        self._ledger.measured(len(refreshed.measured))
        return refreshed

    def _told(self, done: int, total: int) -> None:
        self._listener.measuring(done, total, self._choice.label)

    def _filled(self, lack: Missing) -> Refreshed:
        """Measure what makes the networks' latencies known well enough."""
        filled = fill(
            self._store,
            self._device,
            lack.networks,
            max_error=_FILL_UNTIL,
            options=self._options,
            on_progress=self._told,
        )
        refreshed = filled.refreshed
        self._ledger.measured(len(refreshed.measured))
        if max(filled.errors) <= _FILL_UNTIL:
            refreshed.failed.clear()  # Others stand for those that gave no steady time.
        return refreshed
