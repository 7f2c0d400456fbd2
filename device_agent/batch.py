"""Carries one Measure call through as many workers as it takes.

The models of a batch are timed together in one worker. When that dies or falls silent, the model
that it touched last is set aside, and the rest goes on in a fresh worker with what was already
timed. At the end each model that was set aside gets a second try, alone; a second failure is its
verdict. Every model is answered exactly once.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from device_agent.process import Worker, WorkerError
from device_agent.v1 import agent_pb2
from device_agent.worker import Job, ModelHeader

Send = Callable[[agent_pb2.MeasureResponse], Awaitable[None]]

# The contract says at least every 5 seconds; hosts take silence for a broken link.
PROGRESS_SECONDS = 1.0
# Silence of a worker means a hang: no load and no single run of a sensible model takes as long.
HANG_SECONDS = 20.0
# Second tries may begin up to this many hang deadlines after the time limit...
OVERRUN_HANGS = 2
# ...and then have this long, of which TensorFlow, the slowest runtime, takes 12 s to load.
RETRY_MS = 15_000
# The runtime's libraries and thread stacks map about this much; the rest is for models. A model
# that asks for more, or for most of a small device's memory, is refused rather than served.
LIBRARY_SPACE = 1 << 30
MODEL_SPACE = 5 << 30
MODEL_SHARE = 0.6
# Start-up and loading, beside the time limit.
SPARE_CPU_SECONDS = 30
MAX_DETAIL = 500

STATUS = agent_pb2.Status


@dataclass(frozen=True, slots=True)
class Failure:
    """How a model ended a worker."""

    status: agent_pb2.Status
    signal: int
    detail: str


@dataclass(slots=True)
class Entry:
    """One model of the batch and what is known of it."""

    model: agent_pb2.Model
    windows: list[agent_pb2.Window] = field(default_factory=list)
    nodes: int = 0
    delegated: int = 0
    failures: list[Failure] = field(default_factory=list)
    answered: bool = False

    def header(self) -> ModelHeader:
        """What a worker is told of the model."""
        lows = [w.low_us for w in self.windows if w.preempted < w.samples]
        return ModelHeader(self.model.id, len(self.model.content), len(self.windows), lows)


class Batch:
    """One Measure call. `send` writes to the host; `workers` counts those started."""

    def __init__(
        self, request: agent_pb2.MeasureRequest, send: Send, hang_seconds: float = HANG_SECONDS
    ) -> None:
        self._options = request.options
        self._entries = {model.id: Entry(model) for model in request.models}
        self._send = send
        self._hang_seconds = hang_seconds
        self._start_ns = time.monotonic_ns()
        self._progress_due_ns = self._start_ns
        self.workers = 0

    async def run(self) -> None:
        """Answer every model; WorkerError where no worker can be started."""
        while waiting := [e for e in self._entries.values() if not (e.answered or e.failures)]:
            if await self._work(waiting, self._deadline_ns()):
                break
        for entry in self._entries.values():
            if entry.failures and not entry.answered and self._may_retry():
                await self._work([entry], max(self._deadline_ns(), _in_ms(RETRY_MS)))
                if len(entry.failures) > 1 and not entry.answered:
                    last = entry.failures[-1]
                    await self._answer(entry, last.status, last.detail, last.signal)
        for entry in self._entries.values():
            if not entry.answered:
                await self._answer_unfinished(entry)

    def wall_ms(self) -> float:
        """Milliseconds since the batch began."""
        return (time.monotonic_ns() - self._start_ns) / 1e6

    def _deadline_ns(self) -> int:
        return self._start_ns + self._options.time_limit_ms * 1_000_000

    def _may_retry(self) -> bool:
        overrun_ns = int(OVERRUN_HANGS * self._hang_seconds * 1e9)
        return time.monotonic_ns() < self._deadline_ns() + overrun_ns

    async def _work(self, entries: Sequence[Entry], deadline_ns: int) -> bool:
        """Let one worker time `entries`; whether it came to its end.

        Otherwise the model that it touched last has one more failure, or was answered before.
        """
        self.workers += 1
        touched: Entry | None = None
        hung = False
        async with Worker() as worker:
            worker.send(self._job(entries, deadline_ns))
            try:
                while event := await self._next(worker):
                    if event["event"] == "done":
                        return True
                    if event["event"] == "start":
                        touched = self._entries[event["id"]]
                    await self._note(event)
            except TimeoutError:
                hung = True
            except (WorkerError, LookupError, TypeError, ValueError):
                # A model that writes over the worker's memory may make it say anything.
                pass
            worker.kill()
            failure = await self._failure(worker, hung)
        if touched is None:
            raise WorkerError(f"a worker ended before it touched a model: {failure.detail}")
        if not touched.answered:
            touched.failures.append(failure)
        return False

    async def _next(self, worker: Worker) -> dict[str, Any] | None:
        """The worker's next event, telling the host of progress meanwhile.

        TimeoutError after hang_seconds of silence.
        """
        reading = asyncio.ensure_future(worker.event())
        silent_since = time.monotonic()
        try:
            while not reading.done():
                left = silent_since + self._hang_seconds - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                await asyncio.wait([reading], timeout=min(left, PROGRESS_SECONDS))
                await self._tell_progress()
            return reading.result()
        finally:
            reading.cancel()

    async def _tell_progress(self) -> None:
        if time.monotonic_ns() < self._progress_due_ns:
            return
        self._progress_due_ns = _in_ms(PROGRESS_SECONDS * 1000)
        entries = self._entries.values()
        progress = agent_pb2.Progress(
            settled=sum(e.answered for e in entries),
            total=len(entries),
            windows=sum(len(e.windows) for e in entries),
        )
        await self._send(agent_pb2.MeasureResponse(progress=progress))

    async def _note(self, event: dict[str, Any]) -> None:
        """Take down what a worker said of a model; LookupError and the like for nonsense."""
        kind = event["event"]
        if kind in ("start", "alive"):
            return
        entry = self._entries[event["id"]]
        if kind == "loaded":
            entry.nodes, entry.delegated = int(event["nodes"]), int(event["delegated"])
        elif kind == "window":
            entry.windows.append(agent_pb2.Window(**event["window"]))
        elif kind == "left":
            status = STATUS.STATUS_MEASURED if event["converged"] else STATUS.STATUS_NOT_CONVERGED
            await self._answer(entry, status)
        elif kind == "refused":
            await self._answer(entry, STATUS.STATUS_REFUSED, str(event["detail"]))
        else:
            raise ValueError(f"unknown event {kind!r}")

    async def _failure(self, worker: Worker, hung: bool) -> Failure:
        signal, words = await worker.ended()
        if hung:
            detail = f"the worker was silent for {self._hang_seconds:g} s"
            return Failure(STATUS.STATUS_HUNG, 0, detail)
        cause = f"signal {signal}" if signal else "it exited by itself"
        return Failure(STATUS.STATUS_CRASHED, signal, f"{cause}; {words}" if words else cause)

    async def _answer(
        self, entry: Entry, status: agent_pb2.Status, detail: str = "", signal: int = 0
    ) -> None:
        if entry.answered:
            return
        entry.answered = True
        result = agent_pb2.Result(
            id=entry.model.id,
            status=status,
            detail=detail[:MAX_DETAIL],
            signal=signal,
            windows=entry.windows,
            delegated_nodes=entry.delegated,
            nodes=entry.nodes,
        )
        await self._send(agent_pb2.MeasureResponse(result=result))

    async def _answer_unfinished(self, entry: Entry) -> None:
        detail = "the time limit came first"
        if entry.failures:
            detail += f"; earlier it ended a worker: {entry.failures[0].detail}"
        status = STATUS.STATUS_NOT_CONVERGED if entry.windows else STATUS.STATUS_NOT_STARTED
        await self._answer(entry, status, detail)

    def _job(self, entries: Sequence[Entry], deadline_ns: int) -> list[bytes]:
        options = self._options
        seconds = math.ceil(max(deadline_ns - time.monotonic_ns(), 0) / 1e9)
        job = Job(
            backend=agent_pb2.Backend.Name(options.backend).removeprefix("BACKEND_").lower(),
            threads=options.threads,
            core_mask=options.core_mask,
            target_relative_error=options.target_relative_error,
            max_windows=options.max_windows,
            window_us=options.window_us,
            start_ns=self._start_ns,
            deadline_ns=deadline_ns,
            address_space=address_space(memory_bytes()),
            cpu_seconds=(seconds + SPARE_CPU_SECONDS) * options.threads,
            models=[entry.header() for entry in entries],
        )
        return [job.line(), *(entry.model.content for entry in entries)]


def memory_bytes() -> int:
    """Physical memory of the device."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def address_space(memory: int) -> int:
    """Bytes that a worker may map on a device with so much memory."""
    return LIBRARY_SPACE + min(MODEL_SPACE, int(MODEL_SHARE * memory))


def _in_ms(milliseconds: float) -> int:
    """That long from now, in nanoseconds of the monotonic clock."""
    return time.monotonic_ns() + int(milliseconds * 1_000_000)
