"""One sitting of a job: everything that is read and opened for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from adapt.cost.base import Cost, Missing
from adapt.cost.pricer import Pricer
from adapt.errors import DeviceError
from adapt.executors.base import Executor
from adapt.job.account import Ledger
from adapt.job.devices import Devices
from adapt.job.executor import open_executor, room_for
from adapt.job.folder import Conditions, JobFolder
from adapt.job.listener import Listener
from adapt.job.request import JobRequest
from adapt.job.wholes import VersionFiles, WholeNetworks
from adapt.network.elastic import ElasticNetwork
from adapt.network.load import Network, load_model
from adapt.training.activations import Activations
from adapt.training.data import Data, DataOptions, load_data
from adapt.training.finetune import Teacher, Trainer
from adapt.training.importance import Importance
from adapt.training.rows import Room
from adapt.training.step import strategy_here

__all__ = ["Sitting", "calibration"]

_T = TypeVar("_T")

# Measured this often in a row with the same still lacking, a question is given up.
_PATIENCE = 10

# Inputs that calibrate an int8 network; a few hundred settle the ranges.
_CALIBRATION_EXAMPLES = 200

# Resources that every result states, budgeted or not, beside all latencies.
_REPORTED = ("macs", "params", "size", "memory")


@dataclass(frozen=True)
class Sitting:
    """What one sitting of a job works with.

    `pricer` prices what the budget limits, by what `devices` tell, and whole networks by what
    `wholes` does, by device, of those that can measure them.
    """

    folder: JobFolder
    request: JobRequest
    network: Network
    data: Data
    trainer: Trainer
    executor: Executor
    importance: Importance
    activations: Activations
    wholes: Mapping[str, WholeNetworks]
    devices: Devices
    pricer: Pricer
    listener: Listener
    ledger: Ledger

    @classmethod
    def open(
        cls, folder: JobFolder, devices: Devices, listener: Listener, ledger: Ledger
    ) -> Sitting:
        """Read the network and the data.

        Raises InputError where any of them, or a device, is not what earlier sittings found.
        """
        request = folder.request
        listener.notify(f"reading {request.model} and {request.data}")
        with ledger.timed("reading"):
            model = load_model(request.model)
            room = room_for(request, folder.data)
            shape, outputs = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]
            data = _read_data(request, shape, outputs, room)
            samples = calibration(data) if request.quantize == "int8" else None
            network = Network(model, quantized_samples=samples)
            wholes = _wholes(network, request, devices)
            # Of what is only to be as little as possible, prices tell enough.
            limited = request.limits.resources
            timed = {devices.latency(label): each for label, each in wholes.items()}
            named = {name: each for name, each in timed.items() if name in limited}
            pricer = Pricer(network, devices.models, request.priced, named)
            elastic = ElasticNetwork(model, network.groups, mixed=request.mixed_precision)
            activations = Activations(elastic, network.groups, data)
            settings = request.settings
            trainer = Trainer(
                elastic,
                data,
                batch=settings.batch,
                teacher=_teacher(request, network),
                optimiser=settings.optimiser,
                augmentation=settings.augmentation,
                strategy=strategy_here() if request.executor == "here" else None,
            )
            executor = open_executor(request, trainer, data, folder.data)
        folder.check(Conditions(data_sha256=data.digest, platforms=devices.platforms))
        return cls(
            folder=folder,
            request=request,
            network=network,
            data=data,
            trainer=trainer,
            executor=executor,
            importance=Importance(elastic, network.groups, data, activations),
            activations=activations,
            wholes=wholes,
            devices=devices,
            pricer=pricer,
            listener=listener,
            ledger=ledger,
        )

    def priced(self, question: Callable[[], _T]) -> _T:
        """The answer to `question`, measuring what it lacks until it has all.

        DeviceError where the same lacks again and again, whatever is measured.
        """
        before: dict[str, object] = {}
        times = 0
        while True:
            try:
                return question()
            except Missing as lack:
                times = times + 1 if lack.values == before else 0
                before = lack.values
                if times == _PATIENCE:
                    devices = " and ".join(self.devices.lacking(lack))
                    raise DeviceError(
                        f"{devices} cannot tell a price, however often it is measured: {lack}",
                        "Quieten the device, then go on; or measure every kernel (--exact).",
                    ) from None
                self._measure(lack)

    def costs_now(self, versions: Sequence[Mapping[str, int]]) -> list[Cost]:
        """What networks of these widths need of every reported resource, as things are now."""
        kernels = [kernel for widths in versions for kernel in self.network.kernels(widths)]
        models = self.devices.models_now(kernels)
        latencies = self.request.names("latency").values()
        reported = {*latencies, *_REPORTED, *self.request.priced, *self.devices.told_by}
        reporter = Pricer(self.network, models, reported)
        return [self.priced(partial(reporter.price, widths)) for widths in versions]

    def _measure(self, lack: Missing) -> None:
        for label, part in self.devices.lacking(lack).items():
            if label not in self.wholes or not part.wholes:
                self.devices.yardsticks[label].measure(part)
                continue
            # What else lacks is asked for again.
            with self.ledger.timed("measuring"):
                self.wholes[label].measure(part.wholes)
            self.ledger.measured(networks=len(part.wholes))


def _wholes(network: Network, request: JobRequest, devices: Devices) -> dict[str, WholeNetworks]:
    """Whole networks by device; without them, as where two do not fit, prices alone decide."""
    relative = {limit.name for limit in request.limits.limits if limit.relative}
    files = VersionFiles(network)
    wholes = {
        label: WholeNetworks(yardstick, files, devices.latency(label) in relative)
        for label, yardstick in devices.yardsticks.items()
    }
    return {label: each for label, each in wholes.items() if each.fit}


def _teacher(request: JobRequest, network: Network) -> Teacher | None:
    """The original network, unless nothing shall be learnt of it."""
    settings = request.settings
    if not settings.distillation:
        return None
    return Teacher(network.weights, settings.distillation, settings.temperature)


def _read_data(request: JobRequest, input_shape: tuple[int, ...], outputs: int, room: Room) -> Data:
    directory = str(request.directory or "")
    if directory and directory not in sys.path:
        sys.path.append(directory)  # Not first, where it could hide Python's own modules.
    options = DataOptions(
        holdout=request.holdout, pixel_range=request.pixel_range, resize=request.resize
    )
    return load_data(request.data, input_shape, int(outputs), options, room)


def calibration(data: Data) -> list[np.ndarray]:
    """Training inputs, each with batch 1, from all over the split."""
    inputs = data.train.evenly(_CALIBRATION_EXAMPLES).inputs[:]
    return [example[None] for example in data.prepared(inputs)]
