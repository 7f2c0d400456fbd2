"""A device on which benchmark_model measures in the agent's place."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from adapt.errors import DeviceError, UsageError
from adapt.fleet.benchmark import Benchmark
from adapt.fleet.benchmark.output import window
from adapt.fleet.device import (
    Batch,
    Description,
    Identity,
    Limits,
    MeasureOptions,
    ModelFile,
    Outcome,
    Progress,
    State,
    Status,
)
from adapt.fleet.facts import Facts, gather
from adapt.fleet.link import Link, TimedOut
from device_agent import __version__ as agent_version
from device_agent import probe
from lookup_tables.kernel import Platform
from lookup_tables.quality import Window

__all__ = ["BenchmarkDevice"]

# Below adapt's own folder of the device, which `adapt devices clean` removes.
FOLDER = "adapt/benchmark"
SHELL_SECONDS = 20.0
# A start of the program with loading, warming up and measuring; delegates compile for a minute.
RUN_SECONDS = 120.0
MIN_SECONDS = 0.05
MIN_RUNS = 20
# More starts would take longer than they tell.
MAX_WINDOWS = 8
LIMITS = Limits(
    max_models=32,
    max_model_bytes=128 << 20,
    max_batch_bytes=160 << 20,
    max_time_limit_ms=600_000,
    max_threads=64,
)
MAX_WORDS = 300
# What a shell answers for what cannot be started; above SIGNALLED, a signal ended the program.
CANNOT_START = (126, 127)
SIGNALLED = 128


class BenchmarkDevice:
    """A Device over `link`, which it owns from now on, also where this raises.

    `parent` is a folder of the device that programs start from. Raises DeviceError where the
    program does not start, and the errors of the link.
    """

    def __init__(self, name: str, link: Link, benchmark: Benchmark, parent: str) -> None:
        self._name = name
        self._link = link
        self._benchmark = benchmark
        self._parent = parent
        self._folder = f"{parent}/{FOLDER}"
        self._program = f"{self._folder}/{benchmark.build}"
        try:
            made = link.shell(["mkdir", "-p", self._folder], timeout_s=SHELL_SECONDS)
            if made.exit_code != 0:
                raise DeviceError(f"{name} lets nobody make {self._folder}", "see `adapt doctor`")
            link.push(benchmark.binary, self._program, mode=0o755)
        except BaseException:
            link.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls the device."""
        return self._name

    def describe(self) -> Description:
        """Who the device is and what state it is in, asked now."""
        facts = gather(self._link, self._parent)
        return Description(self._identity(facts), _state(facts), LIMITS)

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform of this program with its flags."""
        return self.describe().platform(self._benchmark.backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`, a window for each start of the program, in turns over all of them."""
        if options.energy_ms:
            raise UsageError("benchmark_model measures no energy", "Use another backend for it.")
        begun = time.monotonic()
        before = _state(gather(self._link, self._parent))
        run = _Run(self._link, self._command(options), options, begun)
        paths = {model.id: self._push(model, n) for n, model in enumerate(models)}
        try:
            for _ in range(min(options.max_windows, MAX_WINDOWS)):
                for model in models:
                    if not run.settled(model.id):
                        run.once(model.id, paths[model.id])
                    if on_progress is not None:
                        on_progress(run.progress(len(models)))
        finally:
            self._link.shell(["rm", "-f", *paths.values()], timeout_s=SHELL_SECONDS)
        after = _state(gather(self._link, self._parent))
        outcomes = {model.id: run.outcome(model.id) for model in models}
        return Batch(outcomes, before, after, (time.monotonic() - begun) * 1000)

    def close(self) -> None:
        """Let go of the device; may be called twice."""
        self._link.close()

    def _identity(self, facts: Facts) -> Identity:
        """As the agent tells it of a phone; what it reads elsewhere, for this machine alone."""
        said = facts.properties
        root = Path("/")
        if facts.android:
            maker, chip = said.get("ro.product.manufacturer", ""), said.get("ro.soc.model", "")
            device = probe.joined(maker, said.get("ro.product.model", "") or "phone")
            soc = probe.joined(said.get("ro.soc.manufacturer", ""), chip) or "unknown"
            build = said.get("ro.build.fingerprint", "") or facts["kernel"]
        elif self._link.serial == "local":
            device, soc, build = probe.device_model(root), probe.soc(root), probe.os_build(root)
        else:
            device, soc, build = self._link.serial, facts["machine"], f"Linux {facts['kernel']}"
        page = facts["page"]
        return Identity(
            device_model=device,
            soc=soc,
            os_build=build,
            architecture=facts["machine"],
            runtime="benchmark_model",
            runtime_version="unknown",
            runtime_build=self._benchmark.build,
            cores=tuple(facts.cores),
            page_size=int(page) if page.isdecimal() else 0,
            memory_total=0,
            agent_version=agent_version,
            backends=(self._benchmark.backend,),
            boot_id=facts["boot"],
        )

    def _command(self, options: MeasureOptions) -> list[str]:
        pinned = ["taskset", f"{options.core_mask:x}"] if options.core_mask else []
        return [
            *pinned,
            self._program,
            f"--num_threads={options.threads}",
            f"--num_runs={MIN_RUNS}",
            f"--min_secs={MIN_SECONDS}",
            f"--max_secs={RUN_SECONDS / 4:g}",
            f"--warmup_min_secs={MIN_SECONDS}",
            *(f"--{flag}" for flag in self._benchmark.flags),
        ]

    def _push(self, model: ModelFile, number: int) -> str:
        remote = f"{self._folder}/model-{number}.tflite"
        with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
            file.write(model.content)
            file.flush()
            self._link.push(Path(file.name), remote)
        return remote


class _Run:
    """One batch on its way: what each model has brought so far."""

    def __init__(
        self, link: Link, command: Sequence[str], options: MeasureOptions, begun: float
    ) -> None:
        self._link = link
        self._command = command
        self._options = options
        self._begun = begun
        self._windows: dict[str, list[Window]] = {}
        self._failed: dict[str, Outcome] = {}

    def settled(self, id: str) -> bool:
        """Whether the model needs no further start, or the time is up."""
        late = time.monotonic() - self._begun > self._options.time_limit_ms / 1000
        return late or id in self._failed or self._agrees(id)

    def once(self, id: str, path: str) -> None:
        """Start the program once; DeviceError where it is none for this device."""
        start_ms = (time.monotonic() - self._begun) * 1000
        try:
            done = self._link.shell([*self._command, f"--graph={path}"], timeout_s=RUN_SECONDS)
        except TimedOut as error:
            self._failed[id] = _failure(Status.HUNG, error.what)
            return
        text = (done.stdout + b"\n" + done.stderr).decode(errors="replace")
        words = " ".join(text.split())[-MAX_WORDS:]
        if done.exit_code in CANNOT_START:
            raise DeviceError(
                f"benchmark_model does not start on {self._link.serial}: {words}",
                "give one that is built for the device's processor and system",
            )
        if done.exit_code > SIGNALLED:
            self._failed[id] = _failure(Status.CRASHED, words, done.exit_code - SIGNALLED)
        elif done.exit_code != 0:
            self._failed[id] = _failure(Status.REFUSED, words)
        else:
            self._windows.setdefault(id, []).append(self._window(text, start_ms))

    def outcome(self, id: str) -> Outcome:
        """What came of a model; the program does not tell what a delegate took."""
        if id in self._failed:
            return self._failed[id]
        windows = tuple(self._windows.get(id, ()))
        status = Status.MEASURED if self._agrees(id) else Status.NOT_CONVERGED
        return Outcome(status if windows else Status.NOT_STARTED, "", 0, windows, 0, 0, None)

    def progress(self, total: int) -> Progress:
        """How far the batch is."""
        known = self._windows.keys() | self._failed.keys()
        settled = sum(self.settled(id) for id in known)
        return Progress(settled, total, sum(map(len, self._windows.values())))

    def _agrees(self, id: str) -> bool:
        """Whether the two fastest windows do, as the agent's estimator has it."""
        lows = sorted(window.low_us for window in self._windows.get(id, ()))
        return len(lows) > 1 and lows[1] - lows[0] <= (
            self._options.target_relative_error * (lows[0] + lows[1]) / 2
        )

    def _window(self, text: str, start_ms: float) -> Window:
        try:
            return window(text, start_ms)
        except ValueError as error:
            words = " ".join(text.split())[-MAX_WORDS:]
            raise DeviceError(
                f"this is not what benchmark_model prints: {error}: {words}",
                "give Google's benchmark_model",
            ) from error


def _failure(status: Status, detail: str, signal: int = 0) -> Outcome:
    return Outcome(status, detail, signal, (), 0, 0, None)


def _state(facts: Facts) -> State:
    load = facts["load"].split()
    return State(
        core_khz=tuple(facts.current_khz),
        temperatures=tuple(facts.temperatures),
        load_average=float(load[0]) if load and load[0].replace(".", "", 1).isdigit() else -1.0,
        memory_available=0,
        monotonic_ns=time.monotonic_ns(),
    )
