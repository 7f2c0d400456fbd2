"""Which Measure requests are accepted. Pure: the request and the device's facts in, a refusal out.

Every refusal names the field and the range that it must lie in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

import grpc

from device_agent.v1 import agent_pb2

MIB = 1 << 20
# A batch is held in memory three times: by gRPC, by the agent and by the worker.
MAX_BATCH_BYTES = 160 * MIB
MAX_MODEL_BYTES = 128 * MIB
# All models of a batch are loaded at once; an interpreter maps at least 1 MiB.
MAX_MODELS = 256
# Longer batches would keep other hosts waiting, and lose more where the link breaks.
MAX_TIME_LIMIT_MS = 600_000
# For ids, digests and framing, beside the models.
MESSAGE_SLACK = 1 * MIB

MIN_TIME_LIMIT_MS = 100
RELATIVE_ERRORS = (0.0005, 0.5)
MAX_WINDOWS = (2, 200)
WINDOW_US = (500, 1_000_000)
# Shorter runs are lost in the grain of most meters; longer ones keep other hosts waiting.
ENERGY_MS = (500, 60_000)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RefusedError(Exception):
    """The request is not accepted: with `code`, and a message for people."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def limits(cores: Collection[int]) -> agent_pb2.Limits:
    """What an agent that may use `cores` accepts."""
    return agent_pb2.Limits(
        max_models=MAX_MODELS,
        max_model_bytes=MAX_MODEL_BYTES,
        max_batch_bytes=MAX_BATCH_BYTES,
        max_time_limit_ms=MAX_TIME_LIMIT_MS,
        max_threads=len(cores),
    )


def check(
    request: agent_pb2.MeasureRequest,
    cores: Collection[int],
    backends: Collection[agent_pb2.Backend],
) -> None:
    """Raise RefusedError unless a device with these cores and backends can carry out `request`."""
    if not request.HasField("options"):
        raise _invalid("options is required")
    _check_ranges(request.options)
    _check_device(request.options, cores, backends)
    _check_sizes(request)
    seen: set[str] = set()
    for number, model in enumerate(request.models):
        _check_model(f"models[{number}]", model)
        if model.id in seen:
            raise _invalid(f"models[{number}].id is not unique: {model.id}")
        seen.add(model.id)


def _check_ranges(options: agent_pb2.Options) -> None:
    if options.backend not in (agent_pb2.BACKEND_XNNPACK, agent_pb2.BACKEND_BUILTIN):
        raise _invalid(f"options.backend is not a backend: {options.backend}")
    if options.threads < 1:
        raise _invalid("options.threads must be at least 1")
    ranges: dict[str, tuple[float, float]] = {
        "target_relative_error": RELATIVE_ERRORS,
        "time_limit_ms": (MIN_TIME_LIMIT_MS, MAX_TIME_LIMIT_MS),
        "max_windows": MAX_WINDOWS,
        "window_us": WINDOW_US,
    }
    if options.energy_ms:
        ranges["energy_ms"] = ENERGY_MS
    for name, (least, most) in ranges.items():
        value = getattr(options, name)
        # Written so that NaN is refused as well.
        if not least <= value <= most:
            raise _invalid(f"options.{name} must be {least} to {most}, not {value}")


def _check_device(
    options: agent_pb2.Options, cores: Collection[int], backends: Collection[agent_pb2.Backend]
) -> None:
    if options.backend not in backends:
        name = agent_pb2.Backend.Name(options.backend)
        raise _impossible(f"options.backend: this runtime has no {name}")
    allowed = set(cores)
    if options.core_mask:
        wanted = {i for i in range(options.core_mask.bit_length()) if options.core_mask >> i & 1}
        if not wanted <= allowed:
            missing = ", ".join(map(str, sorted(wanted - allowed)))
            raise _impossible(f"options.core_mask: the agent may not use core {missing}")
        allowed = wanted
    if options.threads > len(allowed):
        raise _impossible(f"options.threads is {options.threads}, on {len(allowed)} core(s)")


def _check_sizes(request: agent_pb2.MeasureRequest) -> None:
    count = len(request.models)
    if count == 0:
        raise _invalid("models is empty")
    if count > MAX_MODELS:
        raise _too_much(f"models: {count} of them, at most {MAX_MODELS}")
    total = 0
    for number, model in enumerate(request.models):
        size = len(model.content)
        if size > MAX_MODEL_BYTES:
            raise _too_much(f"models[{number}].content: {size} bytes, at most {MAX_MODEL_BYTES}")
        total += size
    if total > MAX_BATCH_BYTES:
        raise _too_much(f"models: {total} bytes together, at most {MAX_BATCH_BYTES}")


def _check_model(name: str, model: agent_pb2.Model) -> None:
    if not _ID.fullmatch(model.id):
        raise _invalid(f"{name}.id must be 1 to 128 of [A-Za-z0-9._:-]")
    if not model.content:
        raise _invalid(f"{name}.content is empty")
    if hashlib.sha256(model.content).digest() != model.sha256:
        raise _invalid(f"{name}.sha256 is not that of content")


def _invalid(message: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, message)


def _impossible(message: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, message)


def _too_much(message: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
