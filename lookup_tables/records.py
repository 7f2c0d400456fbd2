"""What goes into a table and what comes out of it, as plain immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lookup_tables.energy import EnergyRun
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Accepted, Reason, Rejected, Window

__all__ = [
    "BatchRecord",
    "ColdResult",
    "Drift",
    "EnergyResult",
    "Entry",
    "Fact",
    "KernelResult",
    "NetworkResult",
    "NetworkTime",
    "NullEnergy",
    "NullResult",
    "NullTime",
    "Recorded",
    "Rejection",
    "TableCounts",
]

JsonObject = Mapping[str, object]


@dataclass(frozen=True)
class NullResult:
    """The null op of a batch: a model that does nothing, timed among the others."""

    windows: tuple[Window, ...]
    verdict: Accepted


@dataclass(frozen=True)
class KernelResult:
    """One kernel of a batch with its raw windows and what to think of them.

    `nodes` counts the operators of the one-op model, `delegated` those that a delegate took.
    """

    kernel: Kernel
    windows: tuple[Window, ...]
    verdict: Accepted | Rejected
    nodes: int = 0
    delegated: int = 0


@dataclass(frozen=True)
class ColdResult:
    """One kernel timed with its weights out of the cache.

    Attributes:
        copies: of the kernel in the model, 2 or more, each with its own weights.
        all: windows of the model.
        verdict: the time of each copy, or why there is none.
        nodes, delegated: operators of the model, and those that a delegate took.
        one: windows of a model with one copy, which earlier versions timed as well.
    """

    kernel: Kernel
    copies: int
    all: tuple[Window, ...]
    verdict: Accepted | Rejected
    nodes: int = 0
    delegated: int = 0
    one: tuple[Window, ...] = ()


@dataclass(frozen=True)
class EnergyResult:
    """One kernel that ran under a meter: what that told, or why it is not believed."""

    kernel: Kernel
    verdict: EnergyRun | Rejected


@dataclass(frozen=True)
class NetworkResult:
    """A whole network of a batch, known by the SHA-256 of its .tflite file (64 hex digits)."""

    sha256: str
    windows: tuple[Window, ...]
    verdict: Accepted
    nodes: int = 0
    delegated: int = 0


@dataclass(frozen=True)
class BatchRecord:
    """Everything that one batch brought back.

    Attributes:
        wall_ms: duration of the batch on the device, milliseconds.
        before, after: state of the device (clocks, temperatures, load), as JSON objects.
        facts: what else to keep (agent version, options), as a JSON object.
        null: the null op of this batch; None where it could not be timed.
        kernels, cold, energy, networks: the results; a kernel stands at most once in each of them.
        null_energy: what the meter told of the null op; None where nothing, or not to be believed.
    """

    wall_ms: float
    before: JsonObject = field(default_factory=dict)
    after: JsonObject = field(default_factory=dict)
    facts: JsonObject = field(default_factory=dict)
    null: NullResult | None = None
    kernels: tuple[KernelResult, ...] = ()
    cold: tuple[ColdResult, ...] = ()
    networks: tuple[NetworkResult, ...] = ()
    energy: tuple[EnergyResult, ...] = ()
    null_energy: EnergyRun | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What a table answers for one kernel.

    Attributes:
        latency_us: time of the kernel itself in a loop, microseconds, the null op subtracted.
        relative_error: its stated error as a share of `latency_us`.
        null_us: the null time that was subtracted, microseconds.
        batch: number of the batch that measured it; 0 where it was imported.
        measured_at: host clock at that time, seconds since 1970.
        source: who measured an imported one; empty for this table's own.
        cold_us: its time where it does not find its weights in the cache, microseconds; None where
            that was not measured.
        cold_error: stated error as a share of `cold_us`.
        cold_at: when it was measured, seconds since 1970.
        energy_uj: energy of the kernel itself above idle power, hot, microjoules, the null op's
            subtracted; None where that was not measured.
        energy_error: its standard uncertainty as a share of `energy_uj`.
        energy_meter: which meter told it; empty without an energy. Meters cover different parts of
            a device: only what one of them told may be added up.
        energy_at: when it was measured, seconds since 1970.
    """

    latency_us: float
    relative_error: float
    null_us: float
    batch: int
    measured_at: float
    source: str = ""
    cold_us: float | None = None
    cold_error: float | None = None
    cold_at: float | None = None
    energy_uj: float | None = None
    energy_error: float | None = None
    energy_meter: str = ""
    energy_at: float | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """What was learnt of a platform.

    Attributes:
        value: in the unit that the fact's name ends with.
        learnt_at: host clock, seconds since 1970.
        evidence: the measurements behind it, as a JSON object.
    """

    value: float
    learnt_at: float
    evidence: JsonObject


@dataclass(frozen=True, slots=True)
class Drift:
    """A platform became slower or faster than its entries say.

    Attributes:
        op, dtype: of the kernels that did; both empty where all did.
        ratio: of new time by old.
        since: when this began to be measured, seconds since 1970; entries from before are outdated.
        evidence: the measurements behind it, as a JSON object.
    """

    op: str
    dtype: str
    ratio: float
    since: float
    evidence: JsonObject


@dataclass(frozen=True, slots=True)
class NullTime:
    """Time of a model that does nothing, microseconds, and its relative error."""

    latency_us: float
    relative_error: float


@dataclass(frozen=True, slots=True)
class NullEnergy:
    """Energy of one run of a model that does nothing, and its uncertainty, microjoules."""

    inference_uj: float
    error_uj: float


@dataclass(frozen=True)
class Recorded:
    """What became of a batch: its number, and its kernels by outcome, whatever was measured."""

    batch: int
    accepted: Mapping[Kernel, Entry]
    rejected: Mapping[Kernel, Rejected]


@dataclass(frozen=True)
class Rejection:
    """A result that was not accepted. `rejected_at` is the host clock, seconds since 1970."""

    kernel: Kernel
    reason: Reason
    detail: str
    batch: int
    rejected_at: float


@dataclass(frozen=True, slots=True)
class NetworkTime:
    """A whole network as measured: one run, nothing subtracted."""

    sha256: str
    latency_us: float
    relative_error: float
    batch: int
    measured_at: float


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Rows of one platform's table; `imported` ones are not among its `entries`."""

    entries: int
    measurements: int
    rejections: int
    networks: int
    batches: int
    imported: int = 0
