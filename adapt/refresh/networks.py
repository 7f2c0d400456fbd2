"""Measures whole networks, with the estimator that measures their kernels."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from adapt.errors import DeviceError, InputError
from adapt.fleet.client import split
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile
from adapt.refresh.queue import MAX_ATTEMPTS
from adapt.refresh.session import OnProgress, Session
from lookup_tables.quality import Accepted, Rejected
from lookup_tables.records import NetworkResult
from lookup_tables.store import Store

__all__ = [
    "NETWORK_REPEATS",
    "NetworkLatency",
    "measure_network",
    "measure_networks",
    "side_by_side",
]

# The placement of a large network's weights differs from process to process and moves its latency
# by up to 3 %: so many workers measure it, and the median counts.
NETWORK_REPEATS = 5
_ENOUGH = NETWORK_REPEATS // 2 + 1


@dataclass(frozen=True)
class NetworkLatency:
    """A whole network on a device.

    Attributes:
        sha256: of its .tflite file, hexadecimal.
        latency_us: median over the runs, microseconds, calling the runtime included.
        share: of the latency of the first network measured, batch by batch (`side_by_side`); None
            where too few batches had both.
        relative_error: range of the runs as a share of the median, or the largest error stated
            within a run where that is more.
        runs: accepted measurements, each in a worker process of its own.
        nodes: operators that the runtime sees.
        delegated: those that a delegate took; the smallest number of all runs.
    """

    sha256: str
    latency_us: float
    relative_error: float
    runs: int
    nodes: int
    delegated: int
    share: float | None


def measure_network(
    store: Store,
    device: Device,
    content: bytes,
    *,
    options: MeasureOptions | None = None,
    repeats: int = NETWORK_REPEATS,
    on_progress: OnProgress | None = None,
) -> NetworkLatency:
    """Measure the .tflite file `content`; see `measure_networks`."""
    return measure_networks(
        store, device, [content], options=options, repeats=repeats, on_progress=on_progress
    )[0]


def measure_networks(
    store: Store,
    device: Device,
    contents: Sequence[bytes],
    *,
    options: MeasureOptions | None = None,
    repeats: int = NETWORK_REPEATS,
    on_progress: OnProgress | None = None,
) -> list[NetworkLatency]:
    """Measure the .tflite files `contents` side by side, and record each accepted run.

    The windows of all of them and of the null op interleave in each of `repeats` batches, so that
    what disturbs one disturbs the others and their ratio holds on a machine that drifts. Where the
    device does not take all at once, the first goes with all that fit beside it. Raises InputError
    for a file that the device's runtime refuses or that brings it down, DeviceError for one that is
    too large for it, where the device fails or never settles, TableError where the table fails.
    """
    if repeats < 1:
        raise ValueError(f"{repeats} repeats")
    if not contents:
        return []
    session = Session.open(store, device, options or MeasureOptions())
    parts = _parts(session, list(dict.fromkeys(contents)))
    runs: dict[str, dict[int, NetworkResult]] = {_sha256(content): {} for content in contents}
    last: dict[str, str] = {}
    for part, models in enumerate(parts):
        # One batch more for each attempt that a network without any accepted run deserves.
        for number in range(repeats + MAX_ATTEMPTS - 1):
            if number >= repeats and all(runs[sha256] for sha256 in models):
                break
            batch = session.measure(list(models.values()))
            _record(session, batch, models, runs, last)
            if on_progress is not None:
                done = part * repeats + min(number + 1, repeats)
                on_progress(done, len(parts) * repeats)
    for sha256, accepted in runs.items():
        if not accepted:
            raise DeviceError(
                f"the network {sha256[:12]} could not be timed on {device.name}: {last[sha256]}",
                "Quieten the device (other programs, charging, heat) and try again.",
            )
    first = runs[_sha256(contents[0])]
    summaries = {sha256: _summary(sha256, accepted, first) for sha256, accepted in runs.items()}
    return [summaries[_sha256(content)] for content in contents]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parts(session: Session, contents: Sequence[bytes]) -> list[dict[str, ModelFile]]:
    """Distinct files in batches by SHA-256, the first beside all that it leaves room for."""
    places, room = session.room
    limits = replace(session.description.limits, max_models=places, max_batch_bytes=room)
    most = min(limits.max_model_bytes, room)
    if (largest := max(map(len, contents))) > most:
        raise DeviceError(
            f"{session.device.name} does not take a model of {largest} bytes",
            f"It takes {most} bytes.",
        )
    first, *others = (ModelFile(f"network-{_sha256(each)}", each) for each in contents)
    left = room - len(first.content)
    beside = [model for model in others if len(model.content) <= left and places > 1]
    parts = split(beside, replace(limits, max_models=places - 1, max_batch_bytes=left))
    together = [[first, *part] for part in parts] or [[first]]
    alone = split([model for model in others if model not in beside], limits)
    return [{_sha256(model.content): model for model in part} for part in (*together, *alone)]


def _record(
    session: Session,
    batch: Batch,
    models: dict[str, ModelFile],
    runs: dict[str, dict[int, NetworkResult]],
    last: dict[str, str],
) -> None:
    """Judge and store one batch; add to `runs` what is accepted, note in `last` what is not."""
    results: list[NetworkResult] = []
    verdicts: dict[str, Rejected] = {}
    for sha256, model in models.items():
        outcome = batch.outcomes[model.id]
        verdict = session.verdict(outcome)
        if isinstance(verdict, Accepted):
            result = NetworkResult(
                sha256, outcome.windows, verdict, outcome.nodes, outcome.delegated
            )
            results.append(result)
        elif isinstance(verdict, Rejected):
            verdicts[sha256] = verdict
            last[sha256] = verdict.detail
        else:
            last[sha256] = "the time limit came before its turn"
    number = session.record(batch, networks=results).batch
    for result in results:
        runs[result.sha256][number] = result
    for sha256, rejection in verdicts.items():
        if rejection.reason.poisonous:
            raise InputError(
                f"{session.platform} cannot run the network {sha256[:12]}"
                f" ({rejection.reason}: {rejection.detail})",
                "Check the file with another runtime, or use another backend.",
            )


def side_by_side(
    latencies: Mapping[int, float], beside: Mapping[int, float]
) -> tuple[float, float] | None:
    """A network's latency and that of another by batch, us; as one number each.

    In one batch they were timed in turns, so that what slowed one down slowed the other: their
    ratio is the median of the batches' ratios. None where fewer batches had both than most of a
    measurement has: somebody was stopped amid it, or other work disturbed it.
    """
    both = latencies.keys() & beside.keys()
    if len(both) < _ENOUGH:
        return None
    other = statistics.median(beside[batch] for batch in both)
    return other * statistics.median(latencies[batch] / beside[batch] for batch in both), other


def _summary(
    sha256: str, runs: Mapping[int, NetworkResult], first: Mapping[int, NetworkResult]
) -> NetworkLatency:
    latencies, beside = (
        {batch: run.verdict.latency_us for batch, run in each.items()} for each in (runs, first)
    )
    found = side_by_side(latencies, beside)
    median = statistics.median(latencies.values())
    spread = (max(latencies.values()) - min(latencies.values())) / median
    return NetworkLatency(
        sha256,
        median,
        max(spread, *(run.verdict.relative_error for run in runs.values())),
        runs=len(runs),
        nodes=max(run.nodes for run in runs.values()),
        delegated=min(run.delegated for run in runs.values()),
        share=None if found is None else found[0] / found[1],
    )
