"""Real agents in processes of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from device_agent import launcher
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


@pytest.fixture(scope="session")
def make_request() -> Callable[..., agent_pb2.MeasureRequest]:
    """Builds a sound request for models by id; keywords replace single options."""

    def make(models: dict[str, bytes], **options: Any) -> agent_pb2.MeasureRequest:
        usual = {
            "backend": agent_pb2.BACKEND_XNNPACK,
            "threads": 1,
            "target_relative_error": 0.02,
            "time_limit_ms": 20_000,
            "max_windows": 14,
            "window_us": 2_000,
        }
        return agent_pb2.MeasureRequest(
            models=[
                agent_pb2.Model(id=i, content=c, sha256=hashlib.sha256(c).digest())
                for i, c in models.items()
            ],
            options=agent_pb2.Options(**(usual | options)),
        )

    return make


@dataclass
class Agent:
    """A running agent and a channel to it."""

    process: subprocess.Popen[bytes]
    address: str
    token: str
    channel: grpc.Channel = field(init=False)
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(
            self.address,
            (("grpc.max_send_message_length", -1), ("grpc.default_authority", "localhost")),
        )
        self.stub = agent_pb2_grpc.DeviceAgentStub(self.channel)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token}"),)

    def measure(self, request: agent_pb2.MeasureRequest) -> Any:
        return self.stub.Measure(request, metadata=self.metadata, timeout=60)

    def results(self, request: agent_pb2.MeasureRequest) -> dict[str, agent_pb2.Result]:
        return {a.result.id: a.result for a in self.measure(request) if a.HasField("result")}

    def workers(self) -> list[int]:
        """Process ids of the agent's children that are alive."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [pid for pid in map(int, path.read_text().split()) if is_alive(pid)]

    def worker(self, known: Sequence[int] = ()) -> int:
        """Wait for a worker other than those known; its process id."""
        wait_until(lambda: any(pid not in known for pid in self.workers()))
        return next(pid for pid in self.workers() if pid not in known)

    def until(self, condition: Callable[[], bool]) -> None:
        """Poll `condition`; fail the test where it does not come true in time."""
        wait_until(condition)

    def gone(self, pid: int) -> None:
        """Wait for the end of a process."""
        wait_until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll `condition`; fail the test where it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def run_agent(folder: Path, *arguments: str, listen: str = "", token: str = "") -> Iterator[Agent]:
    """An agent on a Unix socket in `folder`, or where `listen` says."""
    folder.chmod(0o700)
    token = token or secrets.token_hex(32)
    listen = listen or f"unix:{folder / 'agent.socket'}"
    with subprocess.Popen(
        launcher.command(
            "device_agent", "--listen", listen, "--token-stdin", *arguments, python=[sys.executable]
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=launcher.environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token.encode() + b"\n")
        process.stdin.flush()
        agent = Agent(process, json.loads(process.stdout.readline())["address"], token)
        try:
            yield agent
        finally:
            agent.channel.close()
            process.kill()


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Starts agents that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            run_agent(tmp_path, *arguments, **options)
        )


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent for all tests of a module that leave it as they found it."""
    with run_agent(tmp_path_factory.mktemp("agent"), "--hang-seconds", "5") as running:
        yield running
