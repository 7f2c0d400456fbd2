"""Measures whole networks, with the estimator that measures their kernels."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from adapt.errors import DeviceError, InputError
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile
from adapt.refresh.queue import MAX_ATTEMPTS
from adapt.refresh.session import OnProgress, Session
from lookup_tables.quality import Accepted, Rejected
from lookup_tables.records import NetworkResult
from lookup_tables.store import Store

__all__ = ["NETWORK_REPEATS", "NetworkLatency", "measure_network", "measure_networks"]

# The placement of a large network's weights differs from process to process and moves its latency
# by up to 3 %: so many workers measure it, and the median counts.
NETWORK_REPEATS = 5


@dataclass(frozen=True)
class NetworkLatency:
    """A whole network on a device.

    Attributes:
        sha256: of its .tflite file, hexadecimal.
        latency_us: median over the runs, microseconds, calling the runtime included.
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
    what disturbs one disturbs the others and their ratio holds on a machine that drifts. Raises
    InputError for a file that the device's runtime refuses or that brings it down, DeviceError
    where the device fails or never settles, TableError where the table fails.
    """
    if repeats < 1:
        raise ValueError(f"{repeats} repeats")
    if not contents:
        return []
    session = Session.open(store, device, options or MeasureOptions())
    models = _models(session, contents)
    runs: dict[str, list[NetworkResult]] = {sha256: [] for sha256 in models}
    last: dict[str, str] = {}
    # One batch more for each attempt that a network without any accepted run deserves.
    for number in range(repeats + MAX_ATTEMPTS - 1):
        if number >= repeats and all(runs.values()):
            break
        batch = session.measure(list(models.values()))
        _record(session, batch, models, runs, last)
        if on_progress is not None:
            on_progress(min(number + 1, repeats), repeats)
    for sha256, accepted in runs.items():
        if not accepted:
            raise DeviceError(
                f"the network {sha256[:12]} could not be timed on {device.name}: {last[sha256]}",
                "Quieten the device (other programs, charging, heat) and try again.",
            )
    summaries = {sha256: _summary(sha256, accepted) for sha256, accepted in runs.items()}
    return [summaries[_sha256(content)] for content in contents]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _models(session: Session, contents: Sequence[bytes]) -> dict[str, ModelFile]:
    """The files of a batch by SHA-256, each once; DeviceError where the device cannot take them."""
    models = {_sha256(content): content for content in contents}
    places, room = session.room
    largest = session.description.limits.max_model_bytes
    total = sum(map(len, models.values()))
    if len(models) > places or total > room or max(map(len, models.values())) > largest:
        raise DeviceError(
            f"{session.device.name} does not take {len(models)} models of {total} bytes at once",
            f"It takes {places} models, {largest} bytes each and {room} bytes together.",
        )
    return {sha256: ModelFile(f"network-{sha256}", models[sha256]) for sha256 in models}


def _record(
    session: Session,
    batch: Batch,
    models: dict[str, ModelFile],
    runs: dict[str, list[NetworkResult]],
    last: dict[str, str],
) -> None:
    """Judge and store one batch; append to `runs` what is accepted, note in `last` what is not."""
    results: list[NetworkResult] = []
    verdicts: dict[str, Rejected] = {}
    for sha256, model in models.items():
        outcome = batch.outcomes[model.id]
        verdict = session.verdict(outcome)
        if isinstance(verdict, Accepted):
            result = NetworkResult(
                sha256, outcome.windows, verdict, outcome.nodes, outcome.delegated
            )
            runs[sha256].append(result)
            results.append(result)
        elif isinstance(verdict, Rejected):
            verdicts[sha256] = verdict
            last[sha256] = verdict.detail
        else:
            last[sha256] = "the time limit came before its turn"
    session.record(batch, networks=results)
    for sha256, rejection in verdicts.items():
        if rejection.reason.poisonous:
            raise InputError(
                f"{session.platform} cannot run the network {sha256[:12]}"
                f" ({rejection.reason}: {rejection.detail})",
                "Check the file with another runtime, or use another backend.",
            )


def _summary(sha256: str, runs: Sequence[NetworkResult]) -> NetworkLatency:
    latencies = [run.verdict.latency_us for run in runs]
    median = statistics.median(latencies)
    spread = (max(latencies) - min(latencies)) / median
    error = max(spread, *(run.verdict.relative_error for run in runs))
    return NetworkLatency(
        sha256,
        median,
        error,
        runs=len(runs),
        nodes=max(run.nodes for run in runs),
        delegated=min(run.delegated for run in runs),
    )
