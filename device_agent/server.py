"""The gRPC service DeviceAgent, and the server around it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc

from device_agent import batch, handlers, probe, requests
from device_agent.address import Address
from device_agent.auth import TokenInterceptor
from device_agent.health import Health
from device_agent.metering import Metering
from device_agent.power import Meter
from device_agent.process import WorkerError
from device_agent.v1 import agent_pb2

log = logging.getLogger("device_agent")

SERVICE = agent_pb2.DESCRIPTOR.services_by_name["DeviceAgent"].full_name
BUSY = "busy: another batch is running"
# (option, value): why.
SERVER_OPTIONS = (
    # A whole batch in one message.
    ("grpc.max_receive_message_length", requests.MAX_BATCH_BYTES + requests.MESSAGE_SLACK),
    # A host that pings every 10 s while a batch runs would be cut off for "too many pings".
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A host that vanished is noticed, and its batch cancelled.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Two agents on one port would take turns.
    ("grpc.so_reuseport", 0),
)

MeasureContext = grpc.aio.ServicerContext[agent_pb2.MeasureRequest, agent_pb2.MeasureResponse]


class DeviceAgent:
    """Answers Describe, and runs one batch at a time."""

    def __init__(
        self,
        identity: agent_pb2.Identity,
        root: Path,
        hang_seconds: float,
        meters: Sequence[Meter],
    ) -> None:
        self._identity = identity
        self._root = root
        self._hang_seconds = hang_seconds
        self._meter = meters[0] if meters else None
        self._busy = asyncio.Lock()
        # Fewer than are online where the agent itself was pinned.
        self._cores = frozenset(os.sched_getaffinity(0))

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server needs to serve it."""
        return handlers.service(
            SERVICE,
            Describe=handlers.unary(self.describe, agent_pb2.DescribeRequest),
            Measure=handlers.stream(self.measure, agent_pb2.MeasureRequest),
        )

    async def describe(
        self, request: agent_pb2.DescribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> agent_pb2.DescribeResponse:
        """Who the device is, what state it is in and what it accepts."""
        return agent_pb2.DescribeResponse(
            identity=self._identity,
            state=await self._state(),
            limits=requests.limits(self._cores),
        )

    async def measure(self, request: agent_pb2.MeasureRequest, context: MeasureContext) -> None:
        """Time every model of the batch."""
        try:
            requests.check(request, self._cores, self._identity.backends)
        except requests.RefusedError as refusal:
            await context.abort(refusal.code, str(refusal))
        if self._busy.locked():
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY)
        async with self._busy:
            try:
                await self._run(request, context)
            except WorkerError as error:
                log.error("batch given up: %s", error)
                await context.abort(grpc.StatusCode.INTERNAL, str(error))

    async def _run(self, request: agent_pb2.MeasureRequest, context: MeasureContext) -> None:
        log.info("batch of %d models begins", len(request.models))
        before = await self._state()
        # In a thread: drivers of gauges take their time, too.
        metering = await asyncio.to_thread(Metering, self._meter, request.options.energy_ms)
        work = batch.Batch(request, context.write, self._hang_seconds, metering)
        await work.run()
        finished = agent_pb2.Finished(
            before=before,
            after=await self._state(),
            wall_ms=work.wall_ms(),
            workers_started=work.workers,
        )
        await context.write(agent_pb2.MeasureResponse(finished=finished))
        log.info("batch ends after %.0f ms and %d worker(s)", work.wall_ms(), work.workers)

    async def _state(self) -> agent_pb2.State:
        # In a thread: drivers of some thermal sensors take their time.
        return await asyncio.to_thread(probe.state, self._root)


class Agent(Protocol):
    """What a server serves."""

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods of the service."""


class Server:
    """An agent that listens, to hosts that have the token."""

    def __init__(self, token: str, agent: Agent) -> None:
        self._health = Health()
        self._server = grpc.aio.server(
            interceptors=[TokenInterceptor(token)], options=SERVER_OPTIONS
        )
        self._server.add_generic_rpc_handlers((agent.handler(), self._health.handler()))

    async def start(
        self, address: Address, credentials: grpc.ServerCredentials | None = None
    ) -> Address:
        """Listen, with TLS where there are credentials.

        The address with the port that was chosen; RuntimeError where it is taken, or the
        certificates do not fit together.
        """
        if credentials is None:
            port = self._server.add_insecure_port(str(address))
        else:
            port = self._server.add_secure_port(str(address), credentials)
        await self._server.start()
        return address.bound(port)

    async def stop(self, grace_seconds: float | None) -> None:
        """Accept no more calls, give those that run `grace_seconds` (None: none), then cancel."""
        self._health.drain()
        await self._server.stop(grace_seconds)
