"""The client against an agent that answers whatever the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from adapt.errors import Busy, DeviceError, InputError, UsageError
from adapt.fleet.client import AgentClient, explain, split
from adapt.fleet.device import (
    EnergyStatus,
    Limits,
    MeasureOptions,
    Meter,
    ModelFile,
    Progress,
    Status,
)
from device_agent.v1 import agent_pb2

Response = agent_pb2.MeasureResponse
OPTIONS = MeasureOptions(time_limit_ms=1000)
WINDOW = {
    "samples": 5,
    "preempted": 1,
    "invokes_per_sample": 2,
    "low_us": 10.0,
    "median_us": 11.0,
    "min_us": 9.0,
    "cpu_us": 10.5,
    "start_ms": 3.0,
}
ENERGY = {
    "status": agent_pb2.ENERGY_STATUS_MEASURED,
    "meter": "rapl",
    "run_uj": 5_000.0,
    "run_ms": 1_000.0,
    "invokes": 100,
    "idle_before_mw": 2.0,
    "idle_after_mw": 4.0,
    "error_uj": 0.5,
}


def result(name: str, **changes: Any) -> Response:
    window = agent_pb2.Window(**(WINDOW | changes.pop("window", {})))
    values = {"status": agent_pb2.STATUS_MEASURED, "windows": [window, window], "nodes": 1}
    if "energy" in changes:
        values["energy"] = agent_pb2.Energy(**(ENERGY | changes.pop("energy")))
    return Response(result=agent_pb2.Result(id=name, **(values | changes)))


def finished(wall_ms: float = 100.0) -> Response:
    return Response(finished=agent_pb2.Finished(wall_ms=wall_ms, workers_started=1))


@pytest.fixture
def client(scripted: Any) -> Iterator[AgentClient]:
    device = AgentClient("scripted", scripted.target, "x" * 64)
    yield device
    device.close()


def models(*names: str, size: int = 10) -> list[ModelFile]:
    return [ModelFile(name, bytes(size)) for name in names]


def test_a_batch_beyond_the_limits_takes_several_calls(scripted: Any, client: AgentClient) -> None:
    def answer(request: agent_pb2.MeasureRequest) -> list[Response]:
        progress = Response(progress=agent_pb2.Progress(settled=1, total=2, windows=3))
        return [progress, *(result(m.id) for m in request.models), finished()]

    scripted.answers = answer
    seen: list[Progress] = []
    batch = client.measure(models("a", "b", "c"), OPTIONS, seen.append)
    assert [[m.id for m in r.models] for r in scripted.requests] == [["a", "b"], ["c"]]
    assert set(batch.outcomes) == {"a", "b", "c"}
    assert batch.wall_ms == 200
    assert batch.outcomes["a"].windows[0].start_ms == 3
    assert batch.outcomes["c"].windows[0].start_ms == 103
    assert [p.settled for p in seen] == [1, 2, 3, 3]
    assert [p.windows for p in seen] == [3, 4, 7, 6]
    assert {p.total for p in seen} == {3}


def test_splitting_respects_every_limit() -> None:
    limits = Limits(3, 100, 150, 1000, 1)
    sizes = [90, 60, 1, 100, 50, 10, 10, 10, 10]
    files = [ModelFile(str(i), bytes(size)) for i, size in enumerate(sizes)]
    parts = split(files, limits)
    assert [[len(m.content) for m in part] for part in parts] == [
        [90, 60],
        [1, 100],
        [50, 10, 10],
        [10, 10],
    ]
    with pytest.raises(InputError, match="model big has 101 bytes"):
        split(models("big", size=101), limits)


def test_batches_that_make_no_sense_are_not_sent(scripted: Any, client: AgentClient) -> None:
    for batch in ([], models("a", "a")):
        with pytest.raises(UsageError):
            client.measure(batch, OPTIONS)
    with pytest.raises(UsageError, match="'gpu' is not a backend"):
        client.measure(models("a"), MeasureOptions(backend="gpu"))
    assert scripted.requests == []


@pytest.mark.parametrize(
    "answers",
    [
        [result("stranger"), finished()],
        [result("a"), result("a"), finished()],
        [finished()],
        [result("a")],
        [result("a"), finished(float("nan"))],
        [result("a"), finished(-1.0)],
        [result("a", status=0), finished()],
        [result("a", status=99), finished()],
        [result("a", windows=[]), finished()],
        [result("a", signal=65), finished()],
        [result("a", signal=-1), finished()],
        [result("a", delegated_nodes=2), finished()],
        *(
            [result("a", energy=wrong), finished()]
            for wrong in (
                {"status": 0},
                {"status": 99},
                {"meter": ""},
                {"meter": "=cmd()"},
                {"meter": "m" * 101},
                {"invokes": 0},
                {"invokes": 2**60},
                {"run_uj": float("nan")},
                {"run_uj": 3_000.0},
                {"run_ms": float("inf")},
                {"idle_before_mw": -1.0},
                {"idle_after_mw": 1e9},
                {"error_uj": -0.1},
            )
        ),
        *(
            [result("a", window=wrong), finished()]
            for wrong in (
                {"samples": 0},
                {"invokes_per_sample": 0},
                {"preempted": 6},
                {"low_us": 0.0},
                {"low_us": -1.0},
                {"low_us": float("nan")},
                {"median_us": float("inf")},
                {"min_us": 1e9},
                {"cpu_us": float("nan")},
                {"start_ms": -1.0},
            )
        ),
    ],
)
def test_answers_that_make_no_sense_are_refused(
    scripted: Any, client: AgentClient, answers: list[Response]
) -> None:
    scripted.answers = lambda request: answers
    with pytest.raises(DeviceError, match="makes no sense") as caught:
        client.measure(models("a"), OPTIONS)
    assert caught.value.todo


def test_failures_of_a_model_are_outcomes(scripted: Any, client: AgentClient) -> None:
    crashed = result("a", status=agent_pb2.STATUS_CRASHED, windows=[], signal=11, detail="x" * 900)
    scripted.answers = lambda request: [crashed, finished()]
    outcome = client.measure(models("a"), OPTIONS).outcomes["a"]
    assert (outcome.status, outcome.signal, outcome.windows) == (Status.CRASHED, 11, ())
    assert len(outcome.detail) == 500


def test_energy_is_the_runs_less_idle_power(scripted: Any, client: AgentClient) -> None:
    scripted.answers = lambda request: [result("a", energy={}), finished()]
    energy = client.measure(models("a"), replace(OPTIONS, energy_ms=700)).outcomes["a"].energy
    assert scripted.requests[0].options.energy_ms == 700
    assert energy is not None
    assert energy.run is not None
    assert energy.status is EnergyStatus.MEASURED
    assert energy.run.inference_uj == pytest.approx((5_000 - 3 * 1_000) / 100)


def test_why_energy_was_not_measured_is_told(scripted: Any, client: AgentClient) -> None:
    charging = {"status": agent_pb2.ENERGY_STATUS_CHARGING, "detail": "usb " * 200}
    scripted.answers = lambda request: [result("a", energy=charging), finished()]
    energy = client.measure(models("a"), OPTIONS).outcomes["a"].energy
    assert energy is not None
    assert (energy.status, energy.run) == (EnergyStatus.CHARGING, None)
    assert len(energy.detail) == 500
    scripted.answers = lambda request: [result("a"), finished()]
    assert client.measure(models("a"), OPTIONS).outcomes["a"].energy is None


def test_meters_are_part_of_the_identity(scripted: Any, client: AgentClient) -> None:
    assert client.describe().identity.meters == ()
    scripted.description.identity.meters.add(name="rapl", covers="processor package-0")
    assert client.describe().identity.meters == (Meter("rapl", "processor package-0"),)
    scripted.description.identity.meters.add(covers="nameless")
    with pytest.raises(DeviceError, match="a meter is called ''"):
        client.describe()


@pytest.mark.parametrize("broken", ["device_model", "runtime_build"])
def test_a_description_must_name_the_device(
    scripted: Any, client: AgentClient, broken: str
) -> None:
    scripted.description.identity.ClearField(broken)
    with pytest.raises(DeviceError, match=broken):
        client.platform("xnnpack", 1)


def test_the_platform_is_the_devices(client: AgentClient) -> None:
    platform = client.platform("xnnpack", 1, 2)
    assert platform.device_model == "Scripted"
    assert (platform.backend, platform.threads, platform.core_mask) == ("xnnpack", 1, 2)


@pytest.mark.parametrize(
    ("code", "said", "kind", "pattern"),
    [
        ("RESOURCE_EXHAUSTED", "busy: another batch is running", Busy, "somebody else"),
        ("RESOURCE_EXHAUSTED", "models: 300 of them", DeviceError, "models: 300"),
        ("INVALID_ARGUMENT", "options.threads", DeviceError, "refused .*options.threads"),
        ("FAILED_PRECONDITION", "no such core", DeviceError, "no such core"),
        ("UNAUTHENTICATED", "", DeviceError, "token"),
        ("INTERNAL", "no worker", DeviceError, "no worker"),
        ("UNIMPLEMENTED", "", DeviceError, "another version"),
        ("DEADLINE_EXCEEDED", "", DeviceError, "in time"),
        ("UNAVAILABLE", "ipv4:1.2.3.4 tcp handshaker", DeviceError, "cannot be reached"),
        ("DATA_LOSS", "grpc dump", DeviceError, "data_loss"),
    ],
)
def test_every_status_becomes_a_plain_error(
    scripted: Any,
    client: AgentClient,
    code: str,
    said: str,
    kind: type[Exception],
    pattern: str,
) -> None:
    scripted.failure = (grpc.StatusCode[code], said)
    with pytest.raises(kind, match=pattern) as caught:
        client.measure(models("a"), OPTIONS)
    assert "StatusCode" not in str(caught.value)
    assert "dump" not in str(caught.value)
    assert "handshaker" not in str(caught.value)


def test_every_code_has_a_message() -> None:
    for code in grpc.StatusCode:
        error = explain("pixel", code, "details")
        assert "pixel" in error.what
        assert error.todo


def test_nobody_there(tmp_path: Any) -> None:
    client = AgentClient("ghost", f"unix:{tmp_path}/nothing", "x" * 64)
    with pytest.raises(DeviceError, match="ghost cannot be reached"):
        client.describe()
    client.close()


def test_a_reader_that_loses_patience_ends_the_call(scripted: Any, client: AgentClient) -> None:
    def impatient(progress: Progress) -> None:
        raise KeyboardInterrupt

    scripted.answers = lambda request: [Response(progress=agent_pb2.Progress(total=1))]
    with pytest.raises(KeyboardInterrupt):
        client.measure(models("a"), OPTIONS, impatient)
    answer: Callable[[Any], list[Response]] = lambda request: [result("a"), finished()]  # noqa: E731
    scripted.answers = answer
    assert client.measure(models("a"), OPTIONS).outcomes["a"].status is Status.MEASURED
