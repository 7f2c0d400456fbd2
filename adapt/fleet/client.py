"""An agent behind a gRPC channel, as a Device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from adapt.errors import AdaptError, Busy, DeviceError, InputError, UsageError
from adapt.fleet import messages
from adapt.fleet.device import (
    Batch,
    Description,
    Limits,
    MeasureOptions,
    ModelFile,
    Outcome,
    Progress,
    State,
)
from adapt.fleet.link import Gone
from device_agent.v1 import agent_pb2, agent_pb2_grpc
from lookup_tables.kernel import Platform

__all__ = ["AGENT_NAME", "AgentClient", "split"]

# Whom certificates of agents name: boards change their addresses.
AGENT_NAME = "device-agent"
# With both, an agent that stopped is noticed within 12 s, so that all that waits for it ends within
# 15; with keepalive alone it took over 60. Agents end connections with pings in less than 5 s.
KEEPALIVE_MS = 8_000
PING_TIMEOUT_MS = 4_000
DESCRIBE_SECONDS = 10.0
# Start of workers and second tries of models that hang, beside the time limit of a call.
OVERRUN_SECONDS = 120.0
# A second try measures the energy again: rests and run take twice the time of the run.
ENERGY_RETRY = 2
# Ids, digests and framing of a batch, beside its models.
MESSAGE_SLACK_BYTES = 1 << 20
MAX_DETAIL = 300
_BUSY = "busy"


@dataclass(slots=True)
class _Call:
    """What one call to the agent has brought so far."""

    pending: set[str]
    offset_ms: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    finished: agent_pb2.Finished | None = None


class AgentClient:
    """A Device that is an agent at `target`, a gRPC address such as "unix:/path".

    `token` is the secret that the agent was started with. The intervals say how soon a silent
    agent is given up: after their sum, milliseconds. With `credentials` it is TLS, and the agent
    must show a certificate for AGENT_NAME.
    """

    def __init__(
        self,
        name: str,
        target: str,
        token: str,
        keepalive_ms: int = KEEPALIVE_MS,
        ping_timeout_ms: int = PING_TIMEOUT_MS,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._name = name
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._description: Description | None = None
        options = (
            ("grpc.keepalive_time_ms", keepalive_ms),
            ("grpc.keepalive_timeout_ms", ping_timeout_ms),
            ("grpc.http2.ping_timeout_ms", ping_timeout_ms),
            # An agent that works sends little: without this the pings would end after two.
            ("grpc.http2.max_pings_without_data", 0),
            # Progress of a batch and its results are small; nothing else comes back.
            ("grpc.max_receive_message_length", MESSAGE_SLACK_BYTES),
            ("grpc.max_send_message_length", -1),
            # A proxy from the environment has no business between host and device.
            ("grpc.enable_http_proxy", 0),
            ("grpc.default_authority", "localhost" if credentials is None else AGENT_NAME),
        )
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        # The generator annotates messages, not services.
        self._stub: Any = agent_pb2_grpc.DeviceAgentStub(  # type: ignore[no-untyped-call]
            self._channel
        )

    @property
    def name(self) -> str:
        """What the user calls the device."""
        return self._name

    def describe(self) -> Description:
        """Who the device is and what state it is in, asked now."""
        try:
            answer = self._stub.Describe(
                agent_pb2.DescribeRequest(), timeout=DESCRIBE_SECONDS, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise self._explain(error) from None
        self._description = messages.description(answer)
        return self._description

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        return self._known().platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`, in as many calls as the agent's limits ask for."""
        if not models or len({m.id for m in models}) < len(models):
            raise UsageError("a batch needs at least one model, each with an id of its own")
        outcomes: dict[str, Outcome] = {}
        states: list[State] = []
        elapsed_ms = 0.0
        windows = 0
        for part in split(models, self._known().limits):
            call = _Call({m.id for m in part}, elapsed_ms)
            for progress in self._call(part, options, call):
                if on_progress is not None:
                    settled = len(outcomes) + progress.settled
                    on_progress(Progress(settled, len(models), windows + progress.windows))
            if call.finished is None or call.pending:
                raise messages.nonsense(f"{len(call.pending)} model(s) were left unanswered")
            outcomes |= call.outcomes
            windows += sum(len(o.windows) for o in call.outcomes.values())
            states += map(messages.state, (call.finished.before, call.finished.after))
            elapsed_ms += messages.wall_ms(call.finished)
            if on_progress is not None:
                on_progress(Progress(len(outcomes), len(models), windows))
        return Batch(outcomes, states[0], states[-1], elapsed_ms)

    def close(self) -> None:
        """Close the channel; a running call is cancelled."""
        self._channel.close()

    def _known(self) -> Description:
        return self._description or self.describe()

    def _call(
        self, part: Sequence[ModelFile], options: MeasureOptions, call: _Call
    ) -> Iterator[agent_pb2.Progress]:
        """One call; what it brings goes into `call`, its progress to the caller."""
        stream = self._stub.Measure(
            messages.request(part, options),
            timeout=(options.time_limit_ms + ENERGY_RETRY * options.energy_ms) / 1000
            + OVERRUN_SECONDS,
            metadata=self._metadata,
        )
        try:
            for answer in stream:
                event = answer.WhichOneof("event")
                if event == "progress":
                    yield answer.progress
                elif event == "result":
                    _take(answer.result, call)
                elif event == "finished":
                    call.finished = answer.finished
        except grpc.RpcError as error:
            raise self._explain(error) from None
        finally:
            # Also where the answer made no sense or the user lost patience: the worker must end.
            stream.cancel()

    def _explain(self, error: grpc.RpcError) -> AdaptError:
        """What a failed call means to the user."""
        code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        said = " ".join(((error.details() if isinstance(error, grpc.Call) else "") or "").split())
        return explain(self._name, code, said[:MAX_DETAIL])


def explain(name: str, code: grpc.StatusCode, said: str) -> AdaptError:
    """The error for the user, from a status and what the agent said with it."""
    status = grpc.StatusCode
    if code is status.RESOURCE_EXHAUSTED and said.startswith(_BUSY):
        return Busy(
            f"{name} is measuring for somebody else", "wait until it has finished, then try again"
        )
    agent = f"the agent on {name}"
    match code:
        case status.UNAUTHENTICATED:
            return DeviceError(
                f"{agent} does not accept this host's token",
                "give both the same token, or restart the agent",
            )
        case status.RESOURCE_EXHAUSTED | status.INVALID_ARGUMENT | status.FAILED_PRECONDITION:
            return DeviceError(f"{agent} refused the request: {said}", "ask for what it can do")
        case status.UNAVAILABLE:
            return Gone(
                f"{agent} cannot be reached, or stopped answering",
                "check that it runs and that the link to the device holds, then try again",
            )
        case status.DEADLINE_EXCEEDED:
            return DeviceError(f"{agent} did not finish in time", "restart the agent, try again")
        case status.INTERNAL:
            return DeviceError(f"{agent} failed: {said}", "look at the agent's log")
        case status.UNIMPLEMENTED:
            return DeviceError(
                f"{agent} is of another version", "install the same version on host and device"
            )
        case status.CANCELLED:
            return DeviceError(f"the call to {name} was cancelled", "try again")
    return DeviceError(f"{agent} failed ({code.name.lower()})", "look at the agent's log")


def split(models: Sequence[ModelFile], limits: Limits) -> list[list[ModelFile]]:
    """`models` in order, in as few parts as the limits allow.

    InputError for a model that is too large for any call.
    """
    parts: list[list[ModelFile]] = []
    room = 0
    for model in models:
        size = len(model.content)
        if size > min(limits.max_model_bytes, limits.max_batch_bytes):
            raise InputError(
                f"model {model.id} has {size} bytes; the device takes {limits.max_model_bytes}",
                "measure a smaller model",
            )
        if not parts or size > room or len(parts[-1]) == limits.max_models:
            parts.append([])
            room = limits.max_batch_bytes
        parts[-1].append(model)
        room -= size
    return parts


def _take(result: agent_pb2.Result, call: _Call) -> None:
    if result.id not in call.pending:
        raise messages.nonsense(f"a result for {result.id[:MAX_DETAIL]!r}, which is not expected")
    call.pending.remove(result.id)
    call.outcomes[result.id] = messages.outcome(result, call.offset_ms)
