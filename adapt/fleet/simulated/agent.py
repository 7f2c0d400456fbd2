"""The service of an agent whose times come from a profile."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc

from adapt.errors import InputError
from adapt.fleet.simulated.profile import Profile
from adapt.tflite.reader import read_kernels
from device_agent import __version__, handlers, requests
from device_agent.server import BUSY, SERVICE
from device_agent.v1 import agent_pb2

__all__ = ["SimulatedAgent"]

CORES = 4
MEMORY_BYTES = 4 << 30
CELSIUS = 30.0
MAX_SAMPLES = 1000
STATUS = agent_pb2.Status

_Context = grpc.aio.ServicerContext[Any, Any]


class SimulatedAgent:
    """Answers Describe and Measure as the device of `profile` would, faults included."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._busy = asyncio.Lock()
        # Models answered well so far.
        self._answered = 0
        # A device has one; it outlives the agent.
        self._boot_id = hashlib.sha256(profile.build.encode()).hexdigest()[:32]

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server needs to serve it."""
        return handlers.service(
            SERVICE,
            Describe=handlers.unary(self.describe, agent_pb2.DescribeRequest),
            Measure=handlers.stream(self.measure, agent_pb2.MeasureRequest),
        )

    async def describe(
        self, request: agent_pb2.DescribeRequest, context: _Context
    ) -> agent_pb2.DescribeResponse:
        """The device of the profile."""
        await self._dawdle()
        return agent_pb2.DescribeResponse(
            identity=agent_pb2.Identity(
                device_model=f"simulated {self._profile.name}",
                soc="simulated",
                os_build="simulated",
                architecture="simulated",
                runtime="simulated",
                runtime_version=__version__,
                runtime_build=self._profile.build,
                cores=[agent_pb2.Core(index=index) for index in range(CORES)],
                page_size=4096,
                memory_total=MEMORY_BYTES,
                agent_version=__version__,
                backends=[agent_pb2.BACKEND_XNNPACK, agent_pb2.BACKEND_BUILTIN],
                boot_id=self._boot_id,
            ),
            state=_state(),
            limits=requests.limits(range(CORES)),
        )

    async def measure(self, request: agent_pb2.MeasureRequest, context: _Context) -> None:
        """Time every model of the batch by the profile, which takes no time."""
        try:
            backends = (agent_pb2.BACKEND_XNNPACK, agent_pb2.BACKEND_BUILTIN)
            requests.check(request, range(CORES), backends)
        except requests.RefusedError as refusal:
            await context.abort(refusal.code, str(refusal))
        if self._busy.locked():
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY)
        async with self._busy:
            begin = time.monotonic()
            before = _state()
            for model in request.models:
                result = self._result(model, request.options)
                await self._misbehave(result)
                await context.write(agent_pb2.MeasureResponse(result=result))
                self._answered += 1
            wall_ms = (time.monotonic() - begin) * 1e3
            finished = agent_pb2.Finished(
                before=before, after=_state(), wall_ms=wall_ms, workers_started=1
            )
            await context.write(agent_pb2.MeasureResponse(finished=finished))

    def _result(self, model: agent_pb2.Model, options: agent_pb2.Options) -> agent_pb2.Result:
        result = agent_pb2.Result(id=model.id)
        if options.energy_ms:
            result.energy.status = agent_pb2.ENERGY_STATUS_NO_METER
        try:
            kernels = list(read_kernels(model.content))
        except InputError as error:
            result.status, result.detail = STATUS.STATUS_REFUSED, error.what[:500]
            return result
        latency_us = self._profile.latency.of_kernels(kernels)
        if self._due(self._profile.faults.throttle_after):
            latency_us *= self._profile.faults.throttle_factor
        result.nodes = len(kernels)
        result.delegated_nodes = len(kernels) * (options.backend == agent_pb2.BACKEND_XNNPACK)
        lows: list[float] = []
        for window in self._windows(latency_us, options):
            result.windows.append(window)
            lows = sorted([*lows, window.low_us])[:2]
            if len(lows) == 2 and lows[1] <= lows[0] * (1 + options.target_relative_error):
                result.status = STATUS.STATUS_MEASURED
                return result
        result.status = STATUS.STATUS_NOT_CONVERGED
        return result

    def _windows(self, latency_us: float, options: agent_pb2.Options) -> Iterator[agent_pb2.Window]:
        chance = random.Random(f"{self._profile.build} {self._answered}")
        for number in range(options.max_windows):
            low = latency_us * (1 + abs(chance.gauss(0, self._profile.latency.scatter)))
            if self._due(self._profile.faults.nan_after):
                low = float("nan")
            yield agent_pb2.Window(
                samples=max(5, min(MAX_SAMPLES, int(options.window_us / latency_us))),
                invokes_per_sample=1,
                low_us=low,
                median_us=low * 1.01,
                min_us=low * 0.99,
                cpu_us=low * 1.01,
                start_ms=number * options.window_us / 1e3,
            )

    async def _misbehave(self, result: agent_pb2.Result) -> None:
        faults = self._profile.faults
        await self._dawdle()
        if self._due(faults.vanish_after):
            print("simulated: vanishing", file=sys.stderr, flush=True)
            os._exit(1)
        if self._due(faults.hang_after):
            # A machine that hangs answers no pings either.
            os.kill(os.getpid(), signal.SIGSTOP)
        if self._due(faults.wrong_after):
            result.id = "nobody-asked"

    async def _dawdle(self) -> None:
        await asyncio.sleep(self._profile.faults.slow_ms / 1e3)

    def _due(self, after: float) -> bool:
        return 0 <= after <= self._answered


def _state() -> agent_pb2.State:
    return agent_pb2.State(
        core_khz=[0] * CORES,
        temperatures=[agent_pb2.Temperature(zone="simulated", celsius=CELSIUS)],
        load_average=0.0,
        memory_available=MEMORY_BYTES // 2,
        monotonic_ns=time.monotonic_ns(),
    )
