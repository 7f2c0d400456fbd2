"""A real agent: who may call it, what it serves, and how it ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from device_agent import __main__ as agent_main
from device_agent import launcher
from device_agent.v1 import agent_pb2, health_pb2

Make = Callable[..., agent_pb2.MeasureRequest]
DESCRIBE = agent_pb2.DescribeRequest()
UNSETTLED = {"target_relative_error": 0.0005, "max_windows": 200, "time_limit_ms": 30_000}
# No model settles within this precision in the few seconds that a test needs.
SLOW = {**UNSETTLED, "window_us": 1_000_000}


def refused(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def is_busy(agent: Any, request: agent_pb2.MeasureRequest) -> bool:
    """Whether the agent turns a batch away; it lets go of a cancelled one in a moment."""
    try:
        agent.results(request)
    except grpc.RpcError as error:
        return bool(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
    return False


def start(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run an agent that is expected to refuse to start."""
    command = launcher.command("device_agent", *arguments, python=[sys.executable])
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=30, env=launcher.environment()
    )


def test_describe(agent: Any) -> None:
    answer = agent.stub.Describe(DESCRIBE, metadata=agent.metadata)
    assert answer.identity.runtime in ("ai-edge-litert", "tflite-runtime", "tensorflow")
    assert len(bytes.fromhex(answer.identity.runtime_build)) == 8
    assert list(answer.identity.backends) == [1, 2]
    assert answer.limits.max_threads == len(os.sched_getaffinity(0))
    assert answer.state.monotonic_ns > 0


@pytest.mark.parametrize("shown", [None, "", "wrong", "Bearer ", "Bearer wrong", "{token}"])
def test_no_call_without_the_token(agent: Any, shown: str | None) -> None:
    text = None if shown is None else shown.format(token=agent.token)
    metadata = () if text is None else (("authorization", text),)
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    assert refused(lambda: agent.stub.Describe(DESCRIBE, metadata=metadata)) is unauthenticated
    request = agent_pb2.MeasureRequest()
    assert refused(lambda: list(agent.stub.Measure(request, metadata=metadata))) is unauthenticated


def test_unknown_methods_and_garbage(agent: Any) -> None:
    call = agent.channel.unary_unary("/device_agent.v1.DeviceAgent/Nothing")
    assert refused(lambda: call(b"", metadata=agent.metadata)) is grpc.StatusCode.UNIMPLEMENTED
    call = agent.channel.unary_stream("/device_agent.v1.DeviceAgent/Measure")
    code = refused(lambda: list(call(b"\xff" * 100, metadata=agent.metadata)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(agent.address.removeprefix("unix:"))
        stranger.sendall(secrets.token_bytes(10_000))
    assert agent.stub.Describe(DESCRIBE, metadata=agent.metadata).identity.runtime


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"backend": 0}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"threads": 1000}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"core_mask": 1 << 60}, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_refusals_reach_the_host(
    agent: Any, make_request: Make, change: dict[str, Any], code: grpc.StatusCode
) -> None:
    assert refused(lambda: agent.results(make_request({"a": b"x"}, **change))) is code


def test_a_wrong_digest_is_refused(agent: Any, make_request: Make, small_model: bytes) -> None:
    request = make_request({"a": small_model})
    request.models[0].content = small_model[:-1]
    with pytest.raises(grpc.RpcError, match=r"models\[0\]\.sha256"):
        agent.results(request)


def test_a_message_beyond_the_limit_is_refused(agent: Any, make_request: Make) -> None:
    request = make_request({i: bytes(54 << 20) for i in "abc"})
    assert refused(lambda: agent.results(request)) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert agent.stub.Describe(DESCRIBE, metadata=agent.metadata).identity.runtime


def test_one_batch_at_a_time(agent: Any, make_request: Make, small_model: bytes) -> None:
    request = make_request({"a": small_model}, **SLOW)
    call = agent.measure(request)
    worker = agent.worker()
    with pytest.raises(grpc.RpcError, match="busy") as caught:
        agent.results(request)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert next(call).progress.total == 1
    call.cancel()
    agent.gone(worker)
    agent.until(lambda: not is_busy(agent, make_request({"a": b"no model"})))
    results = agent.results(make_request({"a": small_model}))
    assert results["a"].status in (agent_pb2.STATUS_MEASURED, agent_pb2.STATUS_NOT_CONVERGED)


def test_the_time_limit_holds(agent: Any, make_request: Make, small_model: bytes) -> None:
    models = {f"m{i}": small_model for i in range(3)}
    answers = list(agent.measure(make_request(models, **(SLOW | {"time_limit_ms": 1_500}))))
    statuses = [a.result.status for a in answers if a.HasField("result")]
    assert sorted(statuses, reverse=True)[0] == agent_pb2.STATUS_NOT_STARTED
    assert set(statuses) <= {agent_pb2.STATUS_NOT_STARTED, agent_pb2.STATUS_NOT_CONVERGED}
    assert answers[-1].finished.workers_started == 1


def test_health_needs_no_token_and_speaks_the_standard(agent: Any) -> None:
    check = agent.channel.unary_unary("/grpc.health.v1.Health/Check")
    # Field 1 (status) of the answer is SERVING; field 1 of the question names the service.
    assert check(b"") == b"\x08\x01"
    assert check(b"\x0a\x1bdevice_agent.v1.DeviceAgent") == b"\x08\x01"
    assert refused(lambda: check(b"\x0a\x01x")) is grpc.StatusCode.NOT_FOUND
    watch = agent.channel.unary_stream("/grpc.health.v1.Health/Watch")
    assert next(iter(watch(b"\x0a\x01x"))) == b"\x08\x03"


def test_sigterm_lets_the_batch_end(
    start_agent: Callable[..., Any], make_request: Make, small_model: bytes
) -> None:
    agent = start_agent()
    watch = agent.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    assert next(watch) == b"\x08\x01"
    request = make_request({"a": small_model}, **(SLOW | {"time_limit_ms": 2_500}))
    call = agent.measure(request)
    assert next(call).HasField("progress")
    agent.process.send_signal(signal.SIGTERM)
    not_serving = health_pb2.HealthCheckResponse.NOT_SERVING
    assert health_pb2.HealthCheckResponse.FromString(next(watch)).status == not_serving
    assert list(call)[-1].HasField("finished")
    assert agent.process.wait(20) == 0


def test_a_second_sigterm_does_not_wait(
    start_agent: Callable[..., Any], make_request: Make, small_model: bytes
) -> None:
    agent = start_agent()
    call = agent.measure(make_request({"a": small_model}, **SLOW))
    worker = agent.worker()
    assert next(call).HasField("progress")
    agent.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        agent.process.wait(1)
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(10) == 0
    agent.gone(worker)


def test_the_end_of_stdin_ends_the_agent_and_its_worker(
    start_agent: Callable[..., Any], make_request: Make, small_model: bytes
) -> None:
    agent = start_agent()
    call = agent.measure(make_request({"a": small_model}, **SLOW))
    assert next(call).HasField("progress")
    worker = agent.worker()
    agent.process.stdin.close()
    assert agent.process.wait(10) == 0
    agent.gone(worker)


def test_a_worker_does_not_outlive_a_killed_agent(
    start_agent: Callable[..., Any], make_request: Make, small_model: bytes
) -> None:
    agent = start_agent()
    call = agent.measure(make_request({"a": small_model}, **SLOW))
    assert next(call).HasField("progress")
    worker = agent.worker()
    agent.process.kill()
    agent.gone(worker)


def test_a_tcp_port_of_its_own(start_agent: Callable[..., Any]) -> None:
    agent = start_agent(listen="127.0.0.1:0")
    assert agent.stub.Describe(DESCRIBE, metadata=agent.metadata).identity.runtime
    taken = start("--listen", agent.address, "--token-stdin", stdin=b"x" * 32 + b"\n")
    assert taken.returncode == 1
    assert b"cannot serve on" in taken.stderr


def test_the_socket_is_private(start_agent: Callable[..., Any]) -> None:
    path = Path(start_agent().address.removeprefix("unix:"))
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("token", [b"", b"\n", b"x" * 31 + b"\n", b"\xff" * 64 + b"\n"])
def test_weak_tokens_are_refused(token: bytes) -> None:
    done = start("--listen", "127.0.0.1:0", "--token-stdin", stdin=token)
    assert done.returncode == 2
    assert b"token" in done.stderr
    assert b"Traceback" not in done.stderr


def test_addresses_beyond_this_machine_are_refused() -> None:
    done = start("--listen", "0.0.0.0:0", "--token-stdin", stdin=b"x" * 64 + b"\n")
    assert done.returncode == 2
    assert b"other machines" in done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 64)
    path.chmod(mode)
    done = start("--listen", "127.0.0.1:0", "--token-file", str(path))
    assert done.returncode == 2
    assert b"chmod 600" in done.stderr


def test_a_private_token_file_serves(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 64 + "\n")
    path.chmod(0o600)
    command = launcher.command("device_agent", "--listen", "127.0.0.1:0", "--token-file", str(path))
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=launcher.environment(),
    ) as process:
        assert process.stdout is not None
        assert b"127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_silent_host_ends_the_agent(start_agent: Callable[..., Any]) -> None:
    agent = start_agent("--silence-seconds", "4")
    for _ in range(7):
        agent.process.stdin.write(b"\n")
        agent.process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            agent.process.wait(0.7)
    assert agent.process.wait(20) == 0


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "86401", "1e300"])
def test_a_silence_that_cannot_be(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    with pytest.raises(SystemExit) as caught:
        agent_main.main(
            ["--listen", "127.0.0.1:x", "--token-stdin", f"--silence-seconds={seconds}"]
        )
    assert caught.value.code == 2
    assert "give more than 0, at most 86400" in capsys.readouterr().err


def test_a_silence_of_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        agent_main.main(
            ["--listen", "127.0.0.1:x", "--token-file", "token", "--silence-seconds", "3"]
        )
    assert caught.value.code == 2
    assert "goes with --token-stdin" in capsys.readouterr().err


def test_a_watch_that_fails_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise OSError("stdin is bad")

    async def watch() -> float | None:
        reasons: asyncio.Queue[float | None] = asyncio.Queue()
        with pytest.raises(OSError, match="stdin is bad"):
            agent_main._watch_stdin(asyncio.get_running_loop(), reasons, None)
        return await asyncio.wait_for(reasons.get(), 5)

    monkeypatch.setattr(agent_main, "select", SimpleNamespace(select=fails))
    assert asyncio.run(watch()) is None


def test_an_abstract_socket_serves_who_has_the_token(start_agent: Callable[..., Any]) -> None:
    agent = start_agent(listen=f"unix-abstract:adapt-test-{os.getpid()}")
    assert agent.stub.Describe(DESCRIBE, metadata=agent.metadata).identity.runtime
    assert refused(lambda: agent.stub.Describe(DESCRIBE)) is grpc.StatusCode.UNAUTHENTICATED
