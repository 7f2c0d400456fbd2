"""What a .tflite file would take on a device, operator by operator, from a lookup table.

The file may come from anywhere. What the table cannot know is named and left out of the total, and
never counted as nothing. With no device at hand, the analytic model tells what the table lacks.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from adapt.cost.analytic import Column
from adapt.cost.base import Amount, Missing
from adapt.cost.calibration import LeftOut
from adapt.cost.chain import Chain
from adapt.cost.eyeriss.kernels import is_counted
from adapt.cost.eyeriss.model import EyerissCost
from adapt.cost.interval import half_interval_us
from adapt.cost.offline import ON_EYERISS, from_table
from adapt.cost.table import Answer, TableLatency, table_errors
from adapt.errors import InputError, UsageError
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh import OnProgress, measure_missing
from adapt.tflite.graph import Node, OperatorGraph
from adapt.tflite.reader import read_model
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Rejected
from lookup_tables.records import NullTime
from lookup_tables.store import Store

__all__ = [
    "Operator",
    "Origin",
    "Prediction",
    "predict",
    "predict_offline",
    "predict_on_eyeriss",
    "read_file",
]

# Flatbuffers end at 2 GiB; only files with weights behind the flatbuffer are larger.
MAX_MODEL_BYTES = 2 << 30

# Kernels, then facts and cold times, then what was rejected for the moment only.
_ROUNDS = 4

_STRANGE = "not an operator that can be timed alone"

_FREE = "left out by the runtime beside its neighbour"

_HOT = "as if its weights were in the cache: its cold time is not known"


# A network of thousands of kernels, new to a slow phone, is measured within this; seconds. A file
# made to keep a device busy for days is not.
MEASURING_S = 1800.0

_LATE = f"not measured within {MEASURING_S / 60:.0f} minutes; run again to go on"


class _TimeIsUp(Exception):
    """Raised out of a report of progress."""


class Origin(StrEnum):
    """Where the time of an operator comes from, or why there is none."""

    MEASURED = "measured"
    IMPORTED = "imported"
    INTERPOLATED = "interpolated"
    ANALYTIC = "analytic"
    MISSING = "missing"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the file.

    Attributes:
        latency_us: microseconds; None where it is unknown.
        relative_error: stated error, a share of `latency_us`; None likewise.
        share: of the total; None likewise.
        detail: where an imported time comes from, or why there is none.
    """

    index: int
    kernel: Kernel
    origin: Origin
    latency_us: float | None = None
    relative_error: float | None = None
    share: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A network's time on one platform.

    Attributes:
        platform: None where nothing was measured: times are those of the Eyeriss chip then.
        operators: in the order in which they run.
        call_us: time of calling the runtime, paid once, microseconds; 0 where nothing is known.
        total_us: `call_us` and all operators that are known, microseconds.
        error_us: what `total_us` is off by at most, nine times in ten; see `adapt.cost.interval`.
            Operators that are unknown are not in it.
        told_by: what told the times, for people; empty where a device was at hand.
        energy: of all operators that are known, above idle power, microjoules; None where no meter
            told any energy of the platform, or a device was at hand.
        left_out: leave-one-out errors of the analytic model, by operator and type of data; empty
            where it was not calibrated.
    """

    platform: Platform | None
    operators: tuple[Operator, ...]
    call_us: float
    total_us: float
    error_us: float
    told_by: str = ""
    energy: Amount | None = None
    left_out: Mapping[tuple[str, str], LeftOut] = field(default_factory=dict)

    @property
    def shares(self) -> dict[Origin, float]:
        """Share of the total by where it comes from; empty where nothing is known."""
        parts = {Origin.MEASURED: self.call_us} if self.call_us else {}
        for operator in self.operators:
            if operator.latency_us is not None:
                known = parts.get(operator.origin, 0.0)
                parts[operator.origin] = known + operator.latency_us
        whole = math.fsum(parts.values())
        return {origin: part / whole for origin, part in parts.items()} if whole else {}

    @property
    def interval_us(self) -> tuple[float, float]:
        """The total less and plus `error_us`; never below 0."""
        return max(self.total_us - self.error_us, 0.0), self.total_us + self.error_us

    @property
    def has_errors(self) -> bool:
        """Whether the total has an interval: nobody knows how far off the Eyeriss model is."""
        return self.platform is not None and not self.nothing_known

    @property
    def unknown(self) -> tuple[Operator, ...]:
        """Operators that are not in the total."""
        return tuple(o for o in self.operators if o.latency_us is None)

    @property
    def nothing_known(self) -> bool:
        """Whether the total is that of no operator at all."""
        return len(self.unknown) == len(self.operators)

    @property
    def unknown_by_name(self) -> dict[str, int]:
        """How often each operator type is not in the total."""
        return dict(Counter(operator.kernel.op for operator in self.unknown))


def read_file(path: Path) -> tuple[bytes, OperatorGraph]:
    """A .tflite file and what is in it; InputError where it is not a sound one."""
    if not path.is_file():
        raise InputError(f"there is no file {path}", "Give a .tflite file.")
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise InputError(f"{path} is larger than 2 GiB", "Give a smaller .tflite file.")
    content = path.read_bytes()
    try:
        return content, read_model(content)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", error.todo) from error


def predict(
    graph: OperatorGraph,
    store: Store,
    device: Device,
    *,
    options: MeasureOptions | None = None,
    measure: bool = True,
    on_progress: OnProgress | None = None,
) -> Prediction:
    """Price the network `graph` on the platform that `options` select on `device`.

    Kernels that the table lacks are measured and recorded with `measure`, else they are
    interpolated, or stay unknown where too little is known of their like; so does what is not
    measured within MEASURING_S. Raises DeviceError or Busy where the device cannot be used,
    TableError where the table cannot.
    """
    options = options or MeasureOptions()
    nodes = graph.operators
    kernels = [node.kernel for node in nodes if node.supported]
    others = sum(graph.constant_bytes(node) for node in nodes if not node.supported)
    platform = device.platform(options.backend, options.threads, options.core_mask)
    failed: dict[Kernel, Rejected] = {}
    table = TableLatency(store, platform, max_error=None if measure else math.inf)
    answers, lack = table.answers(kernels, other_weights=others)
    watch = _Watch(on_progress)
    # What is measured can show what else is missing: the size of the cache, then cold times.
    for _ in range(_ROUNDS if measure else 0):
        if not lack or watch.is_late:
            break
        with suppress(_TimeIsUp):
            done = measure_missing(store, device, lack, options=options, on_progress=watch)
            failed |= done.failed
        table = TableLatency(store, platform)
        answers, lack = table.answers(kernels, other_weights=others)
        lack = Missing(
            (kernel for kernel in lack.kernels if kernel not in failed),
            cold=(kernel for kernel in lack.cold if kernel not in failed),
            facts=lack.facts,
            pairs=lack.pairs,
        )
    with table_errors():
        if not measure:
            failed = store.quarantined(platform)
    call = TableLatency(store, platform).call
    return _predicted(platform, call, nodes, answers, failed, late=watch.is_late)


def predict_offline(graph: OperatorGraph, store: Store, platform: Platform) -> Prediction:
    """Price the network `graph` on `platform` by what `store` has of it, and touch no device.

    What it has no answer for is analytic; see `adapt.cost.offline`. Raises TableError where the
    table cannot be read.
    """
    offline = from_table(store, platform)
    if offline.table is None:
        return predict_on_eyeriss(graph)
    table, nodes = offline.table, graph.operators
    kernels = [node.kernel for node in nodes if node.supported]
    others = sum(graph.constant_bytes(node) for node in nodes if not node.supported)
    answers, _ = table.answers(kernels, other_weights=others)
    with table_errors():
        failed = store.quarantined(platform)
        calibration = table.analytic and table.analytic.calibration(Column.HOT)
    energy = None
    known = [kernel for kernel, answer in zip(kernels, answers, strict=True) if answer]
    if known and offline.has_energy:
        energy = Chain(offline.models, ["energy"]).price(known)["energy"]
    return replace(
        _predicted(platform, table.call, nodes, answers, failed, late=False),
        told_by=offline.told_by["latency"],
        energy=energy,
        left_out=calibration.left_out() if calibration else {},
    )


def predict_on_eyeriss(graph: OperatorGraph) -> Prediction:
    """Price the network `graph` on the Eyeriss chip, by the model alone."""
    model = EyerissCost()
    operators = []
    for index, node in enumerate(graph.operators):
        kernel = node.kernel
        try:
            if not node.supported:
                raise UsageError(_STRANGE)
            latency_us = model.price([kernel])["latency"].value
        except (InputError, UsageError) as error:  # One operator of a file that is fine otherwise.
            operators.append(Operator(index, kernel, Origin.UNSUPPORTED, detail=error.what))
            continue
        detail = "" if is_counted(kernel) else "not counted by the model"
        operators.append(Operator(index, kernel, Origin.ANALYTIC, latency_us, detail=detail))
    total = math.fsum(operator.latency_us or 0.0 for operator in operators)
    shared = tuple(_with_share(operator, total) for operator in operators)
    return Prediction(None, shared, 0.0, total, 0.0, told_by=ON_EYERISS)


class _Watch:
    """Passes progress on until the time for measuring is up, then stops what reports it."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._deadline = time.monotonic() + MEASURING_S

    @property
    def is_late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._deadline

    def __call__(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done, total)
        if self.is_late:
            raise _TimeIsUp


def _predicted(
    platform: Platform,
    call: NullTime,
    nodes: Sequence[Node],
    answers: Sequence[Answer | None],
    failed: Mapping[Kernel, Rejected],
    *,
    late: bool,
) -> Prediction:
    """The prediction that `answers`, those of the supported ones of `nodes`, come to."""
    kernels = [node.kernel for node in nodes if node.supported]
    known = [(kernel, a) for kernel, a in zip(kernels, answers, strict=True) if a is not None]
    total = math.fsum((call.latency_us, *(answer.latency_us for _, answer in known)))
    error = half_interval_us(total, call.latency_us * call.relative_error, known)
    operators = _operators(nodes, iter(answers), failed, late=late)
    shared = tuple(_with_share(operator, total) for operator in operators)
    return Prediction(platform, shared, call.latency_us, total, error)


def _operators(
    nodes: Sequence[Node],
    answers: Iterator[Answer | None],
    failed: Mapping[Kernel, Rejected],
    *,
    late: bool,
) -> list[Operator]:
    """What is known of each operator; `answers` are those of the supported ones, in order."""
    result = []
    for index, node in enumerate(nodes):
        kernel = node.kernel
        answer = next(answers) if node.supported else None
        if not node.supported:
            result.append(Operator(index, kernel, Origin.UNSUPPORTED, detail=_STRANGE))
        elif answer is not None:
            origin = Origin.IMPORTED if answer.source else Origin(answer.origin)
            values = (answer.latency_us, answer.relative_error)
            notes = (answer.source, _HOT if answer.hot else "", _FREE if answer.free else "")
            detail = "; ".join(filter(None, notes))
            result.append(Operator(index, kernel, origin, *values, detail=detail))
        elif kernel in failed:
            why = f"{failed[kernel].reason}: {failed[kernel].detail}"
            result.append(Operator(index, kernel, Origin.FAILED, detail=why))
        else:
            why = _LATE if late else ""
            result.append(Operator(index, kernel, Origin.MISSING, detail=why))
    return result


def _with_share(operator: Operator, total_us: float) -> Operator:
    if operator.latency_us is None:
        return operator
    return Operator(
        operator.index,
        operator.kernel,
        operator.origin,
        operator.latency_us,
        operator.relative_error,
        share=operator.latency_us / total_us if total_us else None,
        detail=operator.detail,
    )
