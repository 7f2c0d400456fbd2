"""The standard health service, grpc.health.v1.Health: Check and Watch."""

from __future__ import annotations

import asyncio

import grpc

from device_agent import handlers
from device_agent.v1 import agent_pb2, health_pb2

SERVICE = "grpc.health.v1.Health"
_AGENT = agent_pb2.DESCRIPTOR.services_by_name["DeviceAgent"].full_name

Context = grpc.aio.ServicerContext[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
Response = health_pb2.HealthCheckResponse


class Health:
    """Serving from the start until `drain` is called."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """From now on NOT_SERVING; streams of Watch say so and end."""
        self._draining.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server needs to serve it."""
        request = health_pb2.HealthCheckRequest
        return handlers.service(
            SERVICE,
            Check=handlers.unary(self.check, request),
            Watch=handlers.stream(self.watch, request),
        )

    async def check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The state of one service; NOT_FOUND for an unknown one."""
        if request.service not in ("", _AGENT):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return self._state()

    async def watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """The state now and after its change."""
        if request.service not in ("", _AGENT):
            await context.write(Response(status=Response.SERVICE_UNKNOWN))
        else:
            await context.write(self._state())
        if not self._draining.is_set():
            await self._draining.wait()
            await context.write(self._state())

    def _state(self) -> health_pb2.HealthCheckResponse:
        draining = self._draining.is_set()
        return Response(status=Response.NOT_SERVING if draining else Response.SERVING)
