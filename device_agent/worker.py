"""The process that touches models; it may die, and nothing else is lost.

Started for one batch with `exec`, never with fork: gRPC's threads do not survive a fork. On stdin
it reads one JSON line (see `Job`) and then the bytes of the models, in order. On its original
stdout it writes one JSON object a line, each with an `event`:

    start    id, stage   the model is about to be touched; whoever is named last when the worker
                         dies or falls silent is the culprit
    loaded   id, nodes, delegated
    window   id, window  a window is complete
    left     id, converged
    energy   id, before, run, invokes, after
                         the model ran under the meter: when what happened, see exercise.Exercise
    refused  id, detail  the runtime does not accept the model
    alive                a long run has ended
    done                 nothing is left to do, or the time is up

A MemoryError ends it like a crash: then the model is tried again alone, with all the memory.
Nothing here imports gRPC or protobuf, so that a worker starts in a tenth of a second.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from device_agent import estimator, exercise, runtime
from device_agent.exercise import Schedule

STAGE_ENERGY = "energy"
MAX_DETAIL = 500
MAX_OPEN_FILES = 64
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """One model of the job: its size in bytes, and what earlier workers timed of it.

    `left` says that the timing is done, and only the energy is lacking.
    """

    id: str
    size: int
    windows: int
    lows: list[float]
    left: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """The first line of stdin. Instants are nanoseconds of CLOCK_MONOTONIC, sizes bytes.

    Without `exercise` no energy is measured.
    """

    backend: str
    threads: int
    core_mask: int
    target_relative_error: float
    max_windows: int
    window_us: int
    start_ns: int
    deadline_ns: int
    address_space: int
    cpu_seconds: int
    models: list[ModelHeader]
    exercise: Schedule | None = None

    @classmethod
    def parse(cls, line: bytes) -> Job:
        """The job that an agent wrote with `line`."""
        values = json.loads(line)
        models = [ModelHeader(**model) for model in values.pop("models")]
        exercise = values.pop("exercise")
        return cls(**values, models=models, exercise=exercise and Schedule(**exercise))

    def line(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Reporter:
    """Writes events; those that can wait leave together with the next that cannot."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = b""
        self.refused_ids: set[str] = set()

    def starting(self, model_id: str, stage: str) -> None:
        """Must be on its way before the model is touched."""
        self.put("start", id=model_id, stage=stage)
        self.flush()

    def alive(self) -> None:
        """Resets the agent's patience."""
        self.put("alive")
        self.flush()

    def timed(self, model_id: str, window: estimator.Window) -> None:
        """A window is complete."""
        self.put("window", id=model_id, window=asdict(window))

    def left(self, model_id: str, converged: bool) -> None:
        """The model is not timed again."""
        self.put("left", id=model_id, converged=converged)

    def refused(self, model_id: str, error: Exception) -> None:
        """The runtime does not accept the model."""
        self.refused_ids.add(model_id)
        detail = " ".join(str(error).split()) or type(error).__name__
        self.put("refused", id=model_id, detail=detail[:MAX_DETAIL])

    def put(self, event: str, **fields: object) -> None:
        """Queue one event."""
        self._waiting += json.dumps({"event": event, **fields}).encode() + b"\n"

    def flush(self) -> None:
        """Write what is queued."""
        while self._waiting:
            written = os.write(self._descriptor, self._waiting)
            self._waiting = self._waiting[written:]


def limit_resources(job: Job) -> None:
    """Bound what a damaged model can take from the device."""
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower_limit(resource.RLIMIT_AS, job.address_space)
    _lower_limit(resource.RLIMIT_CPU, job.cpu_seconds)


def _lower_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its agent dies, however it dies."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the agent is gone")


def pin(core_mask: int) -> None:
    """Restrict this process, and the threads it will start, to the cores of the mask."""
    if core_mask:
        os.sched_setaffinity(0, cores_of(core_mask))


def cores_of(core_mask: int) -> set[int]:
    """Indices of the bits that are set."""
    return {index for index in range(core_mask.bit_length()) if core_mask >> index & 1}


def read_models(source: BinaryIO, headers: Iterable[ModelHeader]) -> Iterator[bytes]:
    """The models that follow the first line; EOFError where stdin ends early."""
    for header in headers:
        content = source.read(header.size)
        if len(content) != header.size:
            raise EOFError(f"{header.id}: {len(content)} of {header.size} bytes")
        yield content


def prepare(
    job: Job, contents: Sequence[bytes], engine: runtime.Runtime, reporter: Reporter
) -> list[estimator.Subject]:
    """Load and warm up every model that the runtime accepts, until the deadline."""
    clock, subjects = estimator.Clock(), []
    for header, content in zip(job.models, contents, strict=True):
        if time.monotonic_ns() >= job.deadline_ns:
            break
        try:
            reporter.starting(header.id, "load")
            model = engine.load(content, job.backend, job.threads)
            reporter.put("loaded", id=header.id, nodes=model.nodes, delegated=model.delegated)
            reporter.starting(header.id, "warm-up")
            runs = estimator.calibrate(model.invoke, clock)
        except MemoryError:
            raise
        except Exception as error:  # Foreign models make the runtime raise anything at all.
            reporter.refused(header.id, error)
            continue
        subjects.append(
            estimator.Subject(
                header.id, model.invoke, runs, header.windows, list(header.lows), keep=model
            )
        )
    return subjects


def measure(job: Job, contents: Sequence[bytes], reporter: Reporter) -> None:
    """Carry out the job."""
    pin(job.core_mask)
    engine = runtime.find()
    subjects = prepare(job, contents, engine, reporter)
    # The estimator reads another clock than the agent, though most systems make them one.
    shift = time.perf_counter_ns() - time.monotonic_ns()
    plan = estimator.Plan(
        target_relative_error=job.target_relative_error,
        max_windows=job.max_windows,
        window_us=job.window_us,
        start_ns=job.start_ns + shift,
        deadline_ns=job.deadline_ns + shift,
        filter_preempted=job.threads == 1,
    )
    timed = {header.id for header in job.models if header.left}
    untimed = [subject for subject in subjects if subject.id not in timed]
    estimator.interleave(untimed, plan, estimator.Clock(), reporter)
    if job.exercise is not None:
        exercise_all(subjects, job.exercise, job.deadline_ns, reporter)
    reporter.put("done")
    reporter.flush()


def exercise_all(
    subjects: Iterable[estimator.Subject], schedule: Schedule, deadline_ns: int, reporter: Reporter
) -> None:
    """Run each model under the agent's meter, as far as the time allows."""
    clock = exercise.Clock()
    for subject in subjects:
        if subject.id in reporter.refused_ids:
            continue
        if clock.now_ns() + schedule.total_ms * 1_000_000 > deadline_ns:
            return
        reporter.starting(subject.id, STAGE_ENERGY)
        try:
            done = exercise.perform(
                subject.invoke, subject.invokes_per_sample, schedule, clock, reporter.alive
            )
        except MemoryError:
            raise
        except Exception as error:  # Whatever the runtime raises, it speaks of this model alone.
            reporter.refused(subject.id, error)
            continue
        reporter.put("energy", id=subject.id, **asdict(done))
        reporter.flush()


def identify() -> dict[str, Any]:
    """Name, version and build of the runtime, and its backends."""
    engine = runtime.find()
    return {
        "runtime": engine.name,
        "runtime_version": engine.version,
        "runtime_build": engine.build,
        "backends": list(runtime.BACKENDS),
    }


def private_stdout() -> int:
    """Keep the answers' stream for us alone: whatever native code prints goes to stderr."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor


def main() -> None:
    """Run one job from stdin, or say which runtime there is with `--identify`."""
    reporter = Reporter(private_stdout())
    die_with_parent()
    if sys.argv[1:] == ["--identify"]:
        try:
            reporter.put("runtime", **identify())
        except runtime.NoRuntimeError as error:
            raise SystemExit(str(error)) from None
        reporter.flush()
        return
    job = Job.parse(sys.stdin.buffer.readline())
    limit_resources(job)
    measure(job, list(read_models(sys.stdin.buffer, job.models)), reporter)


if __name__ == "__main__":
    main()
