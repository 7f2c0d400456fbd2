"""One sitting of a job: everything that is read and opened for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from adapt.budget import Budget
from adapt.cost.base import Cost, CostModel, Missing
from adapt.cost.counts import MacCount
from adapt.cost.energy import TableEnergy
from adapt.cost.eyeriss.model import EyerissEnergy
from adapt.cost.pricer import Pricer
from adapt.cost.table import TableLatency, table_errors
from adapt.errors import Busy, DeviceError, TableError
from adapt.fleet.device import Device, MeasureOptions
from adapt.job.account import Ledger
from adapt.job.folder import Conditions, JobFolder
from adapt.job.request import JobRequest
from adapt.job.wholes import WholeNetworks
from adapt.methods.base import State
from adapt.network.elastic import ElasticNetwork
from adapt.network.load import Network, load_model
from adapt.refresh import Refreshed, fill, measure_missing
from adapt.training.activations import Activations
from adapt.training.data import Data, DataOptions, load_data
from adapt.training.finetune import Teacher, Trainer
from adapt.training.importance import Importance
from lookup_tables.kernel import Platform
from lookup_tables.store import Store

__all__ = ["Listener", "Sitting", "calibration"]

_T = TypeVar("_T")

# Inputs that calibrate an int8 network; a few hundred settle the ranges.
_CALIBRATION_EXAMPLES = 200

# Within this share the latency of a network must be known, nine times in ten, while a job searches;
# an iteration tightens its constraint by a few percent.
_MAX_ERROR = 0.03

# Measuring goes on a little further, so that a price that was not good enough is after it.
_FILL_UNTIL = 0.025

# Resources that every result states, budgeted or not.
_REPORTED = ("latency", "macs", "params", "size", "memory")


class Listener(Protocol):
    """Who is told how a job gets on."""

    def began(self, folder: Path) -> None:
        """The job in `folder` has what it needs, and can be resumed from now on."""
        ...

    def notify(self, line: str) -> None:
        """One line about what goes on now."""
        ...

    def measuring(self, done: int, total: int) -> None:
        """So many of the kernels to be measured are."""
        ...

    def advanced(self, track: str, state: State) -> None:
        """A step is complete; `track` is empty for the job itself, else the baseline's name."""
        ...


@dataclass(frozen=True)
class Sitting:
    """What one sitting of a job works with.

    `pricer` prices what the budget limits, its latency by `table` and, of whole networks, by
    `wholes`.
    """

    folder: JobFolder
    request: JobRequest
    network: Network
    data: Data
    trainer: Trainer
    importance: Importance
    activations: Activations
    store: Store
    device: Device
    options: MeasureOptions
    platform: Platform
    table: TableLatency
    wholes: WholeNetworks
    pricer: Pricer
    listener: Listener
    ledger: Ledger

    @classmethod
    def open(cls, folder: JobFolder, store: Store, device: Device, listener: Listener) -> Sitting:
        """Read the network and the data, and ask the device who it is.

        Raises InputError where any of them is not what earlier sittings found.
        """
        ledger = Ledger()
        request = folder.request
        listener.notify(f"reading {request.model} and {request.data}")
        with ledger.timed("reading"):
            model = load_model(request.model)
            data = _read_data(request, tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1])
            samples = calibration(data) if request.quantize == "int8" else None
            network = Network(model, quantized_samples=samples)
            options = MeasureOptions(
                backend=request.backend,
                threads=request.device_threads,
                core_mask=request.core_mask,
            )
            platform = device.platform(options.backend, options.threads, options.core_mask)
            table = (
                TableLatency(store, platform)
                if request.exact
                else TableLatency(store, platform, max_error=_MAX_ERROR, kept=folder.prices())
            )
            models = _cost_models(request, store, table, device)
            budget = Budget.parse(request.budget)
            relative = any(each.relative for each in budget.limits if each.resource == "latency")
            wholes = WholeNetworks(store, platform, network, relative=relative)
            pricer = Pricer(network, models, budget.resources, wholes)
            elastic = ElasticNetwork(model, network.groups)
            activations = Activations(elastic, network.groups, data)
            trainer = Trainer(
                elastic,
                data,
                batch=request.settings.batch,
                teacher=_teacher(request, network),
            )
        folder.check(Conditions(data_sha256=data.digest, platform=str(platform)))
        return cls(
            folder=folder,
            request=request,
            network=network,
            data=data,
            trainer=trainer,
            importance=Importance(elastic, network.groups, data, activations),
            activations=activations,
            store=store,
            device=device,
            options=options,
            platform=platform,
            table=table,
            wholes=wholes,
            pricer=pricer,
            listener=listener,
            ledger=ledger,
        )

    def priced(self, question: Callable[[], _T]) -> _T:
        """The answer to `question`, measuring what it lacks until it has all."""
        while True:
            try:
                return question()
            except Missing as lack:
                self._measure(lack)

    def costs_now(self, versions: Sequence[Mapping[str, int]]) -> list[Cost]:
        """What networks of these widths need of every reported resource, their kernels timed anew.

        A device is some percent faster in one hour than in another: a prediction that stands beside
        a measurement has to come from the same minutes.
        """
        kernels = [kernel for widths in versions for kernel in self.network.kernels(widths)]
        with table_errors():
            entries = self.store.entries(self.platform, kernels)
        cold = [kernel for kernel in kernels if kernel in entries and entries[kernel].cold_us]
        self._timed(Missing(kernels, cold=cold))
        table = TableLatency(self.store, self.platform)
        models = _cost_models(self.request, self.store, table, self.device)
        limited = Budget.parse(self.request.budget).resources
        reporter = Pricer(self.network, models, {*_REPORTED, *limited})
        costs = [self.priced(partial(reporter.price, widths)) for widths in versions]
        self._note_uses(table)
        return costs

    def close(self) -> None:
        """Note which kernels the job asked for."""
        self._note_uses(self.table)

    def _note_uses(self, table: TableLatency) -> None:
        # Uses only tell a refresh where to begin: no reason for a job to fail.
        with suppress(TableError, Busy), table_errors():
            self.store.record_uses(self.platform, table.asked)

    def _timed(self, lack: Missing) -> Refreshed:
        with self.ledger.timed("measuring"):
            if lack.wholes:
                self.listener.notify("timing whole networks on the device")
                self.wholes.measure(self.device, lack.wholes, self.options)
                self.ledger.measured(networks=len(lack.wholes))
                return Refreshed()
            if lack.networks:
                return self._filled(lack)
            refreshed = measure_missing(
                self.store,
                self.device,
                lack,
                options=self.options,
                on_progress=self.listener.measuring,
            )
        self.ledger.measured(len(refreshed.measured))
        return refreshed

    def _filled(self, lack: Missing) -> Refreshed:
        """Measure what makes the networks' latencies known well enough."""
        filled = fill(
            self.store,
            self.device,
            lack.networks,
            max_error=_FILL_UNTIL,
            options=self.options,
            on_progress=self.listener.measuring,
        )
        refreshed = filled.refreshed
        self.ledger.measured(len(refreshed.measured))
        if max(filled.errors) <= _FILL_UNTIL:
            refreshed.failed.clear()  # Others stand for those that gave no steady time.
        return refreshed

    def _measure(self, lack: Missing) -> None:
        refreshed = self._timed(lack)
        for kernel, verdict in refreshed.unmetered.items():
            raise DeviceError(
                f"{self.device.name} could not tell the energy of the kernel {kernel}"
                f" ({verdict.reason}: {verdict.detail})",
                "Quieten the device: its power at rest must be steady.",
            )
        failed = refreshed.failed
        # Where a cold time cannot be had, the hot one stands for it.
        for kernel in failed.keys() - set(lack.cold):
            verdict = failed[kernel]
            raise DeviceError(
                f"{self.device.name} could not time the kernel {kernel}"
                f" ({verdict.reason}: {verdict.detail})",
                "Quieten the device, or use another backend in a new job.",
            )


def _teacher(request: JobRequest, network: Network) -> Teacher | None:
    """The original network, unless nothing shall be learnt of it."""
    settings = request.settings
    if not settings.distillation:
        return None
    return Teacher(network.weights, settings.distillation, settings.temperature)


def _cost_models(
    request: JobRequest, store: Store, table: TableLatency, device: Device
) -> tuple[CostModel, ...]:
    """What can price a network; energy by a model, or only where the device has a meter."""
    if request.energy == "eyeriss":
        return (table, MacCount(), EyerissEnergy())
    # The first of its meters is the one that measures.
    meters = device.describe().identity.meters[:1]
    return (table, MacCount(), *(TableEnergy(store, table, meter.name) for meter in meters))


def _read_data(request: JobRequest, input_shape: tuple[int, ...], outputs: int) -> Data:
    directory = str(request.directory or "")
    if directory and directory not in sys.path:
        sys.path.append(directory)  # Not first, where it could hide Python's own modules.
    options = DataOptions(
        holdout=request.holdout, pixel_range=request.pixel_range, resize=request.resize
    )
    return load_data(request.data, input_shape, int(outputs), options)


def calibration(data: Data) -> list[np.ndarray]:
    """Training inputs, each with batch 1, from all over the split."""
    inputs = data.train.evenly(_CALIBRATION_EXAMPLES).inputs
    return [example[None] for example in data.prepared(inputs)]
