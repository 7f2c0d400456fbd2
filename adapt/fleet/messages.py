"""Between the agent's messages and the values of the seam. Trusts nothing that an agent says."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from adapt.errors import DeviceError, UsageError
from adapt.fleet.device import (
    Core,
    Description,
    EnergyOutcome,
    EnergyStatus,
    Identity,
    Limits,
    MeasureOptions,
    Meter,
    ModelFile,
    Outcome,
    State,
    Status,
)
from device_agent.v1 import agent_pb2
from lookup_tables.energy import MAX_ENERGY_UJ, MAX_POWER_MW, EnergyRun
from lookup_tables.quality import MAX_LATENCY_US, Window

BACKENDS = {
    "xnnpack": agent_pb2.BACKEND_XNNPACK,
    "builtin": agent_pb2.BACKEND_BUILTIN,
}
# An agent that says more than this of anything is broken.
MAX_TEXT = 500
MAX_COUNT = 2**31
# Longer than any batch may take, in milliseconds.
MAX_WALL_MS = 1e8
MAX_SIGNAL = 64
MAX_INVOKES = 2**53
_METER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.@:/-]{0,99}", re.ASCII)
_PREFIX = "STATUS_"
_ENERGY_PREFIX = "ENERGY_STATUS_"


def request(models: Sequence[ModelFile], options: MeasureOptions) -> agent_pb2.MeasureRequest:
    """The request of one call."""
    if options.backend not in BACKENDS:
        raise UsageError(
            f"{options.backend!r} is not a backend", f"use one of: {', '.join(BACKENDS)}"
        )
    return agent_pb2.MeasureRequest(
        models=[
            agent_pb2.Model(id=m.id, content=m.content, sha256=hashlib.sha256(m.content).digest())
            for m in models
        ],
        options=agent_pb2.Options(
            backend=BACKENDS[options.backend],
            threads=options.threads,
            core_mask=options.core_mask,
            target_relative_error=options.target_relative_error,
            time_limit_ms=options.time_limit_ms,
            max_windows=options.max_windows,
            window_us=options.window_us,
            energy_ms=options.energy_ms,
        ),
    )


def description(answer: agent_pb2.DescribeResponse) -> Description:
    """What a device says of itself; DeviceError where it cannot be meant."""
    said = answer.identity
    names = {number: name for name, number in BACKENDS.items()}
    identity = Identity(
        device_model=_text("device_model", said.device_model),
        soc=_text("soc", said.soc),
        os_build=_text("os_build", said.os_build),
        architecture=_text("architecture", said.architecture),
        runtime=_text("runtime", said.runtime),
        runtime_version=_text("runtime_version", said.runtime_version),
        runtime_build=_text("runtime_build", said.runtime_build),
        cores=tuple(Core(c.index, c.max_khz, c.min_khz, c.governor) for c in said.cores),
        page_size=said.page_size,
        memory_total=said.memory_total,
        agent_version=said.agent_version[:MAX_TEXT],
        backends=tuple(names[b] for b in said.backends if b in names),
        boot_id=said.boot_id[:MAX_TEXT],
        meters=tuple(Meter(_meter(m.name), m.covers[:MAX_TEXT]) for m in said.meters),
    )
    bounds = answer.limits
    limits = Limits(
        max_models=_positive("max_models", bounds.max_models),
        max_model_bytes=_positive("max_model_bytes", bounds.max_model_bytes),
        max_batch_bytes=_positive("max_batch_bytes", bounds.max_batch_bytes),
        max_time_limit_ms=_positive("max_time_limit_ms", bounds.max_time_limit_ms),
        max_threads=_positive("max_threads", bounds.max_threads),
    )
    return Description(identity, state(answer.state), limits)


def state(said: agent_pb2.State) -> State:
    """The state of a device."""
    return State(
        core_khz=tuple(said.core_khz),
        temperatures=tuple(
            (t.zone[:MAX_TEXT], t.celsius) for t in said.temperatures if math.isfinite(t.celsius)
        ),
        load_average=_number("load_average", said.load_average, -1.0, 1e9),
        memory_available=said.memory_available,
        monotonic_ns=said.monotonic_ns,
    )


def outcome(said: agent_pb2.Result, offset_ms: float) -> Outcome:
    """What came of one model, in a call that began `offset_ms` after the batch did."""
    try:
        status = Status[agent_pb2.Status.Name(said.status).removeprefix(_PREFIX)]
    except (KeyError, ValueError) as error:
        raise nonsense(f"status {said.status}") from error
    if status is Status.MEASURED and len(said.windows) < 2:
        raise nonsense(f"a measured model with {len(said.windows)} window(s)")
    if not 0 <= said.signal <= MAX_SIGNAL:
        raise nonsense(f"signal {said.signal}")
    if not said.delegated_nodes <= said.nodes <= MAX_COUNT:
        raise nonsense(f"{said.delegated_nodes} of {said.nodes} operators delegated")
    return Outcome(
        status=status,
        detail=said.detail[:MAX_TEXT],
        signal=said.signal,
        windows=tuple(_window(w, offset_ms) for w in said.windows),
        delegated=said.delegated_nodes,
        nodes=said.nodes,
        energy=_energy(said.energy) if said.HasField("energy") else None,
    )


def wall_ms(said: agent_pb2.Finished) -> float:
    """Milliseconds that a call took."""
    return _number("wall_ms", said.wall_ms, 0.0, MAX_WALL_MS)


def nonsense(what: str) -> DeviceError:
    """The error for an answer that no working agent gives."""
    return DeviceError(
        f"the agent's answer makes no sense: {what[:MAX_TEXT]}",
        "restart the agent; make sure that agent and host are of one version",
    )


def _window(said: agent_pb2.Window, offset_ms: float) -> Window:
    counts = (said.samples, said.invokes_per_sample, said.preempted)
    if not (0 < said.samples < MAX_COUNT and 0 < said.invokes_per_sample < MAX_COUNT):
        raise nonsense(f"samples, runs in a sample and preempted samples of a window: {counts}")
    if said.preempted > said.samples:
        raise nonsense(f"{said.preempted} of {said.samples} samples preempted")
    for name in ("low_us", "median_us", "min_us"):
        value = getattr(said, name)
        # Written so that NaN is refused as well.
        if not 0.0 < value < MAX_LATENCY_US:
            raise nonsense(f"{name} of a window is {value}")
    return Window(
        samples=said.samples,
        preempted=said.preempted,
        invokes_per_sample=said.invokes_per_sample,
        low_us=said.low_us,
        median_us=said.median_us,
        min_us=said.min_us,
        cpu_us=_number("cpu_us", said.cpu_us, 0.0, MAX_LATENCY_US),
        start_ms=offset_ms + _number("start_ms", said.start_ms, 0.0, MAX_WALL_MS),
    )


def _energy(said: agent_pb2.Energy) -> EnergyOutcome:
    try:
        name = agent_pb2.EnergyStatus.Name(said.status)
        status = EnergyStatus[name.removeprefix(_ENERGY_PREFIX)]
    except (KeyError, ValueError) as error:
        raise nonsense(f"status {said.status} of an energy") from error
    if status is not EnergyStatus.MEASURED:
        return EnergyOutcome(status, said.detail[:MAX_TEXT], None)
    if not 0 < said.invokes <= MAX_INVOKES:
        raise nonsense(f"{said.invokes} runs under the meter")
    run = EnergyRun(
        meter=_meter(said.meter),
        run_uj=_number("run_uj", said.run_uj, 0.0, MAX_ENERGY_UJ),
        run_ms=_number("run_ms", said.run_ms, 0.0, MAX_WALL_MS),
        invokes=said.invokes,
        idle_before_mw=_number("idle_before_mw", said.idle_before_mw, 0.0, MAX_POWER_MW),
        idle_after_mw=_number("idle_after_mw", said.idle_after_mw, 0.0, MAX_POWER_MW),
        error_uj=_number("error_uj", said.error_uj, 0.0, MAX_ENERGY_UJ),
    )
    if not run.inference_uj > 0:
        raise nonsense(f"an inference takes {run.inference_uj} uJ")
    return EnergyOutcome(status, "", run)


def _meter(name: str) -> str:
    if not _METER.fullmatch(name):
        raise nonsense(f"a meter is called {name!r}")
    return name


def _number(name: str, value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise nonsense(f"{name} is {value}")
    return value


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise nonsense(f"{name} is {value}")
    return value


def _text(name: str, value: str) -> str:
    if not 0 < len(value) <= MAX_TEXT:
        raise nonsense(f"{name} has {len(value)} characters")
    return value
