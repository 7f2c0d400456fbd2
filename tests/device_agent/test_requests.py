"""Which Measure requests are accepted, field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from device_agent import requests
from device_agent.v1 import agent_pb2

CORES = frozenset({0, 1, 3})
BOTH = (agent_pb2.BACKEND_XNNPACK, agent_pb2.BACKEND_BUILTIN)
MODELS = {"a": b"model"}
INVALID = grpc.StatusCode.INVALID_ARGUMENT
IMPOSSIBLE = grpc.StatusCode.FAILED_PRECONDITION
TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED

Make = Callable[..., agent_pb2.MeasureRequest]


def refusal(request: agent_pb2.MeasureRequest, backends: Any = BOTH) -> tuple[Any, str]:
    with pytest.raises(requests.RefusedError) as caught:
        requests.check(request, CORES, backends)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threads": 3},
        {"core_mask": 0b1011, "threads": 2},
        {"target_relative_error": 0.0005},
        {"time_limit_ms": 100},
        {"max_windows": 200},
        {"window_us": 1_000_000},
        {"energy_ms": 0},
        {"energy_ms": 500},
        {"energy_ms": 60_000},
    ],
)
def test_accepted(make_request: Make, options: dict[str, Any]) -> None:
    requests.check(make_request(MODELS, **options), CORES, BOTH)


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"backend": 0}, INVALID, "options.backend"),
        ({"backend": 77}, INVALID, "options.backend"),
        ({"threads": 0}, INVALID, "options.threads"),
        ({"threads": 4}, IMPOSSIBLE, "options.threads"),
        ({"threads": 2, "core_mask": 1}, IMPOSSIBLE, "options.threads"),
        ({"core_mask": 0b100}, IMPOSSIBLE, "options.core_mask"),
        ({"core_mask": 1 << 63}, IMPOSSIBLE, "options.core_mask"),
        ({"target_relative_error": 0.0}, INVALID, "options.target_relative_error"),
        ({"target_relative_error": float("nan")}, INVALID, "options.target_relative_error"),
        ({"target_relative_error": float("inf")}, INVALID, "options.target_relative_error"),
        ({"time_limit_ms": 99}, INVALID, "options.time_limit_ms"),
        ({"time_limit_ms": 600_001}, INVALID, "options.time_limit_ms"),
        ({"max_windows": 1}, INVALID, "options.max_windows"),
        ({"max_windows": 201}, INVALID, "options.max_windows"),
        ({"window_us": 499}, INVALID, "options.window_us"),
        ({"window_us": 1_000_001}, INVALID, "options.window_us"),
        ({"energy_ms": 499}, INVALID, "options.energy_ms"),
        ({"energy_ms": 60_001}, INVALID, "options.energy_ms"),
    ],
)
def test_options_out_of_range(
    make_request: Make, options: dict[str, Any], code: grpc.StatusCode, field: str
) -> None:
    refused, message = refusal(make_request(MODELS, **options))
    assert refused is code
    assert message.startswith(field)


def test_a_backend_that_the_runtime_lacks(make_request: Make) -> None:
    code, message = refusal(make_request(MODELS), backends=(agent_pb2.BACKEND_BUILTIN,))
    assert code is IMPOSSIBLE
    assert "BACKEND_XNNPACK" in message


def test_options_are_required(make_request: Make) -> None:
    request = make_request(MODELS)
    request.ClearField("options")
    assert refusal(request) == (INVALID, "options is required")


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "../x", "a\n", "ä", "a;b"])
def test_ids_are_plain(make_request: Make, name: str) -> None:
    code, message = refusal(make_request({name: b"model"}))
    assert code is INVALID
    assert message.startswith("models[0].id")


def test_ids_are_unique(make_request: Make) -> None:
    request = make_request(MODELS)
    request.models.append(request.models[0])
    assert refusal(request)[1].startswith("models[1].id")


@pytest.mark.parametrize("digest", [b"", b"\0" * 32, b"short"])
def test_the_digest_is_of_the_content(make_request: Make, digest: bytes) -> None:
    request = make_request({"a": b"model", "b": b"other"})
    request.models[1].sha256 = digest
    assert refusal(request) == (INVALID, "models[1].sha256 is not that of content")


def test_empty_batches_and_models(make_request: Make) -> None:
    assert refusal(make_request({}))[1] == "models is empty"
    assert refusal(make_request({"a": b""}))[1] == "models[0].content is empty"


def test_limits_of_size(make_request: Make) -> None:
    code, message = refusal(make_request({str(i): b"x" for i in range(requests.MAX_MODELS + 1)}))
    assert (code, message) == (TOO_MUCH, "models: 257 of them, at most 256")
    code, message = refusal(make_request({"a": bytes(requests.MAX_MODEL_BYTES + 1)}))
    assert code is TOO_MUCH
    assert message.startswith("models[0].content")
    code, message = refusal(make_request({i: bytes(54 * requests.MIB) for i in "abc"}))
    assert code is TOO_MUCH
    assert message.startswith("models:")


def test_limits_are_told() -> None:
    limits = requests.limits(CORES)
    assert (limits.max_models, limits.max_threads) == (256, 3)
    assert limits.max_model_bytes <= limits.max_batch_bytes
