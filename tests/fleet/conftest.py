"""Agents that behave and agents that do not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from adapt.fleet.local import LocalDevice
from device_agent.v1 import agent_pb2, agent_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared_model() -> Callable[[str], bytes]:
    """Reads a real model from the shared folder; the test is skipped where there is none."""

    def read(name: str) -> bytes:
        folder = Path(os.environ.get("ADAPT_SHARED", ROOT.parent / "shared"))
        path = folder / "models" / name
        if not path.exists():
            pytest.skip(f"{path} is not there; ADAPT_SHARED names the folder")
        return path.read_bytes()

    return read


@pytest.fixture(scope="session")
def small_model(shared_model: Callable[[str], bytes]) -> bytes:
    """A network of some 20 us."""
    return shared_model("kws_dscnn_int8.tflite")


@pytest.fixture
def local() -> Iterator[LocalDevice]:
    """This machine as a device."""
    with LocalDevice() as device:
        yield device


class Scripted(agent_pb2_grpc.DeviceAgentServicer):
    """An agent that answers with what a test put into it, over the real service."""

    def __init__(self) -> None:
        self.description = agent_pb2.DescribeResponse(
            identity=agent_pb2.Identity(
                device_model="Scripted",
                soc="none",
                os_build="none",
                architecture="x86_64",
                runtime="ai-edge-litert",
                runtime_version="2.3.0",
                runtime_build="0123456789abcdef",
                backends=[agent_pb2.BACKEND_XNNPACK],
            ),
            limits=agent_pb2.Limits(
                max_models=2,
                max_model_bytes=100,
                max_batch_bytes=150,
                max_time_limit_ms=1000,
                max_threads=1,
            ),
        )
        self.answers: Callable[[agent_pb2.MeasureRequest], list[agent_pb2.MeasureResponse]]
        self.requests: list[agent_pb2.MeasureRequest] = []
        self.failure: tuple[grpc.StatusCode, str] | None = None

    def Describe(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self.description

    def Measure(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.requests.append(request)
        if self.failure is not None:
            context.abort(*self.failure)
        yield from self.answers(request)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    """A scripted agent, listening on `.target`."""
    servicer = Scripted()
    server = grpc.server(ThreadPoolExecutor(2))
    agent_pb2_grpc.add_DeviceAgentServicer_to_server(servicer, server)
    servicer.target = f"unix:{tmp_path}/socket"
    server.add_insecure_port(servicer.target)
    server.start()
    yield servicer
    server.stop(None).wait()
