"""One worker process, seen from the agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterable
from typing import Any

from device_agent import launcher

# What is kept of a worker's last words.
MAX_LAST_WORDS = 400
# Importing TensorFlow, the slowest of the runtimes, took up to 12 s.
IDENTIFY_SECONDS = 60.0


class WorkerError(Exception):
    """A worker failed before it touched a model, or said what no worker says."""


class Worker:
    """A started worker. As a context manager it never leaves a process behind."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr = b""

    async def __aenter__(self) -> Worker:
        self._process = await asyncio.create_subprocess_exec(
            *launcher.command("device_agent.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=launcher.environment(),
            # A group of its own: killing it reaches whatever it may have started.
            start_new_session=True,
        )
        self._tasks.append(asyncio.create_task(self._collect_stderr()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        # Reaped even when the call that this worker served is being cancelled.
        await asyncio.shield(self._reap())

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process; RuntimeError before the start."""
        if self._process is None:
            raise RuntimeError("the worker has not been started")
        return self._process

    def send(self, parts: Iterable[bytes]) -> None:
        """Begin to write the job to the worker's stdin."""
        self._tasks.append(asyncio.create_task(self._feed(parts)))

    async def event(self) -> dict[str, Any] | None:
        """What the worker says next; None where it has ended. WorkerError for nonsense."""
        try:
            line = await self._stream(self.process.stdout).readline()
            event = json.loads(line) if line.endswith(b"\n") else None
        except ValueError as error:
            raise WorkerError(f"unreadable answer: {error}") from error
        if event is not None and not isinstance(event, dict):
            raise WorkerError(f"unexpected answer: {event!r}"[:MAX_LAST_WORDS])
        return event

    def kill(self) -> None:
        """End the worker and its process group at once, stopped or not."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    async def ended(self) -> tuple[int, str]:
        """Wait for the end; the signal that caused it (0: none did) and the last words."""
        await self._reap()
        code = self.process.returncode or 0
        words = " ".join(self._stderr.decode(errors="replace").split())
        return max(-code, 0), words[-MAX_LAST_WORDS:]

    async def _reap(self) -> None:
        await self.process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _feed(self, parts: Iterable[bytes]) -> None:
        stdin = self.process.stdin
        if stdin is None:
            return
        # A worker that dies while it is being fed is noticed on its stdout.
        with contextlib.suppress(ConnectionError):
            for part in parts:
                stdin.write(part)
                await stdin.drain()
        stdin.close()

    async def _collect_stderr(self) -> None:
        stderr = self._stream(self.process.stderr)
        while chunk := await stderr.read(4096):
            self._stderr = (self._stderr + chunk)[-4 * MAX_LAST_WORDS :]

    @staticmethod
    def _stream(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
        if stream is None:
            raise RuntimeError("the worker was started without this pipe")
        return stream


async def identify_runtime() -> dict[str, Any]:
    """What a worker finds as its runtime: runtime, runtime_version, runtime_build, backends.

    Raises WorkerError with the worker's own words where there is none.
    """
    process = await asyncio.create_subprocess_exec(
        *launcher.command("device_agent.worker", "--identify"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=launcher.environment(),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), IDENTIFY_SECONDS)
        answer = json.loads(out)
    except (TimeoutError, ValueError) as error:
        if process.returncode is None:
            process.kill()
            await process.wait()
            raise WorkerError("the TFLite runtime could not be loaded in time") from error
        words = err.decode(errors="replace").strip()
        raise WorkerError(words or f"a worker ended with {process.returncode}") from error
    return {name: value for name, value in answer.items() if name != "event"}
