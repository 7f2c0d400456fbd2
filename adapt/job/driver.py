"""Carries a job out: steps of the method, measurements in between, and the results at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from adapt.budget import Budget
from adapt.cost.base import Cost, Missing
from adapt.cost.counts import MacCount
from adapt.cost.pricer import Pricer
from adapt.cost.table import TableLatency, open_table
from adapt.errors import DeviceError, InputError
from adapt.fleet.device import Device, MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.job.folder import JobFolder, locked, write_file
from adapt.job.request import JobRequest
from adapt.job.result import JobResult, Measured, NetworkResult
from adapt.methods import METHODS
from adapt.methods.base import Bench, Method, Phase, Settings, State, full_keep, priced
from adapt.network.elastic import ElasticNetwork
from adapt.network.load import Network, file_digest, load_model
from adapt.refresh import measure_kernels, measure_networks
from adapt.training.data import Data, DataOptions, load_data
from adapt.training.evaluate import tflite_accuracy
from adapt.training.finetune import Checkpoint, Trainer, pin_threads
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.store import Store

__all__ = ["Listener", "execute"]

_T = TypeVar("_T")

# Inputs that calibrate an int8 network; a few hundred settle the ranges.
_CALIBRATION_EXAMPLES = 200

# Resources that every result states, budgeted or not.
_REPORTED = ("latency", "macs", "params", "size", "memory")


class Listener(Protocol):
    """Who is told how a job gets on."""

    def notify(self, line: str) -> None:
        """One line about what goes on now."""
        ...

    def measuring(self, done: int, total: int) -> None:
        """So many of the kernels to be measured are."""
        ...

    def advanced(self, track: str, state: State) -> None:
        """A step is complete; `track` is empty for the job itself, else the baseline's name."""
        ...


def execute(folder: JobFolder, *, home: Path, tables: Path, listener: Listener) -> JobResult:
    """Carry out the job in `folder`, or what is left of it, and write its result.

    `home` holds the locks, `tables` is the table file. Raises AdaptError of the kind that fits;
    what was journalled stays, and a second call goes on from there.
    """
    request = folder.request
    if file_digest(_existing(request.model)) != request.model_sha256:
        raise InputError(
            f"{request.model} has changed since the job began", "Start a new job with `adapt run`."
        )
    pin_threads(request.threads)
    with ExitStack() as stack:
        stack.enter_context(locked(folder.path / "lock", f"the job {folder.path}"))
        stack.enter_context(locked(home / "locks" / "local.lock", "the device local"))
        store = stack.enter_context(open_table(tables))
        device = LocalDevice(request.agent_python)
        stack.callback(device.close)
        run = _Run.prepare(folder, request, store, device, listener)
        return run.carry_out()


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"there is no model file {path}", "Put it back, or start a new job.")
    return path


@dataclass(frozen=True)
class Final:
    """Where a method ended."""

    state: State
    checkpoint: Checkpoint


@dataclass
class _Run:
    """One sitting of a job."""

    folder: JobFolder
    request: JobRequest
    network: Network
    data: Data
    trainer: Trainer
    store: Store
    device: Device
    options: MeasureOptions
    pricer: Pricer
    reporter: Pricer
    listener: Listener
    seconds: dict[str, float] = field(default_factory=dict)
    kernels_measured: int = 0

    @classmethod
    def prepare(
        cls,
        folder: JobFolder,
        request: JobRequest,
        store: Store,
        device: Device,
        listener: Listener,
    ) -> _Run:
        """Read the network and the data, and ask the device who it is."""
        started = time.monotonic()
        listener.notify(f"reading {request.model} and {request.data}")
        model = load_model(request.model)
        data = load_data(
            request.data,
            tuple(model.inputs[0].shape[1:]),
            int(model.outputs[0].shape[-1]),
            DataOptions(request.holdout, 0.1, request.pixel_range, request.resize),
        )
        samples = None
        if request.quantize == "int8":
            examples = data.prepared(data.train.inputs[:_CALIBRATION_EXAMPLES])
            samples = [example[None] for example in examples]
        network = Network(model, quantized_samples=samples)
        options = MeasureOptions(
            backend=request.backend,
            threads=request.device_threads,
            core_mask=request.core_mask,
        )
        platform = device.platform(options.backend, options.threads, options.core_mask)
        models = (TableLatency(store, platform), MacCount())
        budget = Budget.parse(request.budget)
        trainer = Trainer(ElasticNetwork(model, network.groups), data, batch=request.settings.batch)
        return cls(
            folder=folder,
            request=request,
            network=network,
            data=data,
            trainer=trainer,
            store=store,
            device=device,
            options=options,
            pricer=Pricer(network, models, budget.resources),
            reporter=Pricer(network, models, _REPORTED),
            listener=listener,
            seconds={"reading": time.monotonic() - started},
        )

    def carry_out(self) -> JobResult:
        """All tracks to their end, then the results."""
        budget = Budget.parse(self.request.budget)
        original = self._priced(lambda: self.pricer.price({}))
        limits = budget.resolve(original.values_by_resource)
        state, checkpoint = self._drive("", METHODS[self.request.method], limits)
        finals = {"adapted": Final(state, checkpoint)}
        for name in self.request.compare:
            # As many steps as the adapted network had, short and long together.
            settings = self.request.settings.model_copy(update={"long_steps": state.steps_trained})
            finals[name] = Final(*self._drive(name, METHODS[name], limits, settings))
        with self._timed("results"):
            networks = self._priced(lambda: self._compared(finals))
        result = JobResult(
            platform=str(self._platform),
            limits=limits,
            networks=networks,
            history=state.history,
            kept_whole=[
                f"{k.layer} ({k.kind}): {k.reason}" for k in self.network.groups.kept_whole
            ],
            kernels_measured=self.kernels_measured,
            examples={
                "train": len(self.data.train),
                "holdout": len(self.data.holdout),
                "test": len(self.data.test),
            },
            seconds={phase: round(spent, 2) for phase, spent in self.seconds.items()},
        )
        self.folder.finish(result)
        return result

    @property
    def _platform(self) -> Platform:
        options = self.options
        return self.device.platform(options.backend, options.threads, options.core_mask)

    def _compared(self, finals: Mapping[str, Final]) -> list[NetworkResult]:
        """The original and the finals, exported, scored on the test split and timed side by side.

        Prices come first, so that Missing is raised before any work that would be done twice.
        """
        full = full_keep(self.network)
        # The original is no more than a final that was never shrunk nor trained.
        start = State(phase=Phase.DONE, limits={}, original={}, keep=full, history=[])
        everyone = {"original": Final(start, Checkpoint(self.network.weights)), **finals}
        costs = {name: self.reporter.price(f.state.widths) for name, f in everyone.items()}
        files = {name: self._export(name, final) for name, final in everyone.items()}
        self.listener.notify("timing the whole networks on the device")
        latencies = measure_networks(
            self.store, self.device, list(files.values()), options=self.options
        )
        self.listener.notify("scoring on the test split")
        return [
            self._result(name, final, costs[name], files[name], Measured(**vars(latency)))
            for (name, final), latency in zip(everyone.items(), latencies, strict=True)
        ]

    def _export(self, name: str, final: Final) -> bytes:
        """The network's .tflite, written to the folder; .keras too unless it is the original."""
        self.listener.notify(f"exporting {name}")
        model = self.network.model
        if name != "original":
            model = self.network.shrunk(final.state.keep, final.checkpoint.weights)
            model.save(self.folder.path / f"{name}.keras")
        content = self.network.to_tflite(model)
        write_file(self.folder.path / f"{name}.tflite", content)
        return content

    def _result(
        self, name: str, final: Final, cost: Cost, content: bytes, measured: Measured
    ) -> NetworkResult:
        weights = final.checkpoint.weights
        score = self.trainer.score(weights, self.data.test)
        quantized = self.request.quantize == "int8"
        return NetworkResult(
            name=name,
            widths=final.state.widths,
            cost=priced(cost),
            measured=measured,
            holdout_accuracy=self.trainer.score(weights, self.data.holdout).accuracy,
            test_accuracy=score.accuracy,
            test_loss=score.loss,
            tflite_accuracy=tflite_accuracy(content, self.data) if quantized else None,
            steps_trained=final.state.steps_trained,
        )

    def _drive(
        self,
        track: str,
        method: Method,
        limits: Mapping[str, float],
        settings: Settings | None = None,
    ) -> tuple[State, Checkpoint]:
        """One method from its last journalled step to its end."""
        bench = self._bench(settings)
        journal = self.folder.journal(track)
        last = journal.last()
        if last is None:
            original = self._priced(lambda: bench.pricer.price({}))
            state = self._priced(lambda: method.start(bench, limits, original))
            checkpoint = Checkpoint(self.network.weights)
            number = 0
            journal.append(number, state, checkpoint)
        else:
            number, state, checkpoint = last
        self.listener.advanced(track, state)
        while state.phase is not Phase.DONE:
            phase = f"{track} {state.phase}".strip()
            with self._timed(phase):
                previous = state
                state, checkpoint = self._priced(
                    lambda s=previous, c=checkpoint: method.step(bench, s, c)  # type: ignore[misc]
                )
            number += 1
            if not track and len(state.history) > len(previous.history):
                self._save_family(state, checkpoint)
            journal.append(number, state, checkpoint)
            self.listener.advanced(track, state)
        return state, checkpoint

    def _bench(self, settings: Settings | None) -> Bench:
        return Bench(
            network=self.network,
            data=self.data,
            trainer=self.trainer,
            pricer=self.pricer,
            settings=settings or self.request.settings,
            seed=self.request.seed,
            notify=self.listener.notify,
        )

    def _priced(self, question: Callable[[], _T]) -> _T:
        """The answer to `question`, measuring the kernels that it lacks until it has all."""
        while True:
            try:
                return question()
            except Missing as lack:
                self._measure(lack.kernels)

    def _measure(self, kernels: Iterable[Kernel]) -> None:
        with self._timed("measuring"):
            refreshed = measure_kernels(
                self.store,
                self.device,
                kernels,
                options=self.options,
                on_progress=self.listener.measuring,
            )
        self.kernels_measured += len(refreshed.measured)
        for kernel, verdict in refreshed.failed.items():
            raise DeviceError(
                f"{self.device.name} could not time the kernel {kernel}"
                f" ({verdict.reason}: {verdict.detail})",
                "Quieten the device and resume the job, or use another backend.",
            )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to `phase`, and take it from the phase around it."""
        started = time.monotonic()
        before = sum(self.seconds.values())
        try:
            yield
        finally:
            inner = sum(self.seconds.values()) - before
            spent = time.monotonic() - started - inner
            self.seconds[phase] = self.seconds.get(phase, 0.0) + spent

    def _save_family(self, state: State, checkpoint: Checkpoint) -> None:
        point = state.history[-1]
        path = self.folder.path / "family" / f"iteration-{point.number:02d}.keras"
        path.parent.mkdir(exist_ok=True)
        self.network.shrunk(point.keep, checkpoint.weights).save(path)
