"""The seam to a device: what every link of the fleet offers, and the values that go through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lookup_tables.energy import EnergyRun
from lookup_tables.kernel import Platform
from lookup_tables.quality import Window

__all__ = [
    "Batch",
    "Core",
    "Description",
    "Device",
    "EnergyOutcome",
    "EnergyStatus",
    "Identity",
    "Limits",
    "MeasureOptions",
    "Meter",
    "ModelFile",
    "Outcome",
    "Progress",
    "State",
    "Status",
]


class Status(StrEnum):
    """How the measurement of one model ended; the agent's statuses, in lower case."""

    MEASURED = "measured"
    NOT_CONVERGED = "not_converged"
    REFUSED = "refused"
    CRASHED = "crashed"
    HUNG = "hung"
    NOT_STARTED = "not_started"


class EnergyStatus(StrEnum):
    """How the measurement of one model's energy ended; the agent's statuses, in lower case."""

    MEASURED = "measured"
    NO_METER = "no_meter"
    CHARGING = "charging"
    NO_READING = "no_reading"
    UNSTEADY = "unsteady"
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True)
class Core:
    """One logical CPU; clocks in kHz, 0 where the system does not say."""

    index: int
    max_khz: int
    min_khz: int
    governor: str


@dataclass(frozen=True, slots=True)
class Meter:
    """An energy meter of the device, and for people what uses the energy that it tells."""

    name: str
    covers: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change until the device is updated; sizes in bytes.

    The first of `meters` is the one that measures.
    """

    device_model: str
    soc: str
    os_build: str
    architecture: str
    runtime: str
    runtime_version: str
    runtime_build: str
    cores: tuple[Core, ...]
    page_size: int
    memory_total: int
    agent_version: str
    backends: tuple[str, ...]
    boot_id: str
    meters: tuple[Meter, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What changes from moment to moment.

    Attributes:
        core_khz: current clock of each core of the identity, kHz, 0 unknown.
        temperatures: (thermal zone, degrees Celsius).
        load_average: runnable processes, one-minute mean, -1 unknown.
        memory_available: bytes.
        monotonic_ns: the device's monotonic clock, nanoseconds.
        thermal_status: whether a phone throttles, see fleet.phone; -1 unknown.
        battery_percent: charge of a phone's battery; -1 unknown.
    """

    core_khz: tuple[int, ...]
    temperatures: tuple[tuple[str, float], ...]
    load_average: float
    memory_available: int
    monotonic_ns: int
    thermal_status: int = -1
    battery_percent: int = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call to the agent may ask for."""

    max_models: int
    max_model_bytes: int
    max_batch_bytes: int
    max_time_limit_ms: int
    max_threads: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a device says of itself."""

    identity: Identity
    state: State
    limits: Limits

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        identity = self.identity
        return Platform(
            device_model=identity.device_model,
            soc=identity.soc,
            os_build=identity.os_build,
            runtime=identity.runtime,
            runtime_version=identity.runtime_version,
            runtime_build=identity.runtime_build,
            backend=backend,
            threads=threads,
            core_mask=core_mask,
        )


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A .tflite to be timed, under a name of the caller's: 1 to 128 of [A-Za-z0-9._:-]."""

    id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How to measure; ranges as in agent.proto.

    `time_limit_ms` holds for each call to the agent, of which a large batch needs several.
    """

    backend: str = "xnnpack"
    threads: int = 1
    core_mask: int = 0
    target_relative_error: float = 0.01
    time_limit_ms: int = 120_000
    max_windows: int = 14
    window_us: int = 3_000
    energy_ms: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Models answered so far, models of the batch, windows timed so far."""

    settled: int
    total: int
    windows: int


@dataclass(frozen=True, slots=True)
class EnergyOutcome:
    """What came of measuring one model's energy: `run` where it was measured, else why not."""

    status: EnergyStatus
    detail: str
    run: EnergyRun | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one model.

    Attributes:
        status: how it ended.
        detail: for people.
        signal: that ended the worker, where the model crashed it; else 0.
        windows: in the order they were timed.
        delegated: operators that the delegate took.
        nodes: operators that the model has.
        energy: present where it was asked for.
    """

    status: Status
    detail: str
    signal: int
    windows: tuple[Window, ...]
    delegated: int
    nodes: int
    energy: EnergyOutcome | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of a batch: one outcome for each model, and the device's state around it."""

    outcomes: Mapping[str, Outcome]
    before: State
    after: State
    wall_ms: float


class Device(Protocol):
    """A device that measures. All methods raise DeviceError where it cannot, Busy where it is."""

    @property
    def name(self) -> str:
        """What the user calls the device."""

    def describe(self) -> Description:
        """Who the device is and what state it is in, asked now."""

    def platform(self, backend: str, threads: int, core_mask: int) -> Platform:
        """The platform that measurements with these options belong to."""

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`, whose ids differ; every one has an outcome in the answer."""

    def close(self) -> None:
        """Let go of the device; may be called twice."""
