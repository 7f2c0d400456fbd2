"""This machine as a device: an agent of our own, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import secrets
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from adapt.errors import DeviceError
from adapt.fleet.client import AgentClient
from adapt.fleet.device import Batch, Description, MeasureOptions, ModelFile, Progress
from device_agent import launcher
from lookup_tables.kernel import Platform

__all__ = ["LocalDevice"]

# tf.lite, the slowest of the runtimes, takes 12 s to load.
START_SECONDS = 60.0
# An agent ends by itself when its stdin does; then it is killed.
CLOSE_SECONDS = 5.0
# How long a broken call waits to see whether the agent is gone.
POST_MORTEM_SECONDS = 1.0
TOKEN_BYTES = 32
LOG_LINES = 5
MAX_READY_LINE = 4096


class LocalDevice:
    """An agent on this machine, started at once and ended by `close`; a context manager.

    `python` runs the agent, by default the interpreter that runs this; `arguments` are added to
    its command line.
    """

    def __init__(self, python: Path | None = None, arguments: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="adapt-agent-")
        self._log = Path(self._folder.name) / "log"
        self._client: AgentClient | None = None
        token = secrets.token_hex(TOKEN_BYTES)
        interpreter = python or Path(sys.executable)
        try:
            self._process = self._start(interpreter, arguments)
        except OSError as error:
            self._folder.cleanup()
            raise DeviceError(
                f"the agent cannot be started: {interpreter}: {error.strerror}",
                "name a Python in which the agent is installed",
            ) from error
        try:
            self._client = AgentClient(self.name, self._hand_over(token), token)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls this machine."""
        return "local"

    @property
    def pid(self) -> int:
        """Process id of the agent."""
        return self._process.pid

    def describe(self) -> Description:
        """Who this machine is and what state it is in, asked now."""
        with self._watched() as agent:
            return agent.describe()

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        with self._watched() as agent:
            return agent.platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`; where the agent dies over it, the error says how."""
        with self._watched() as agent:
            return agent.measure(models, options, on_progress)

    def close(self) -> None:
        """End the agent and wait for its end; may be called twice."""
        if self._client is not None:
            self._client.close()
            self._client = None
        for pipe in (self._process.stdin, self._process.stdout):
            # What an agent that died early left unread cannot be flushed.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> LocalDevice:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[AgentClient]:
        """The agent; an error inside says how it ended, where it did."""
        if self._client is None:
            raise DeviceError("the local agent has been closed", "open the device again")
        try:
            yield self._client
        except DeviceError as error:
            raise self._post_mortem(error) from None

    def _start(self, python: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        socket = Path(self._folder.name) / "socket"
        command = launcher.command(
            "device_agent",
            *("--listen", f"unix:{socket}", "--token-stdin", *arguments),
            python=[str(python)],
        )
        with self._log.open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=launcher.environment(),
                # Ctrl-C is for this process, which then ends the agent in order.
                start_new_session=True,
            )

    def _hand_over(self, token: str) -> str:
        """Give the agent its token; the address that it answers with."""
        try:
            stdin, stdout = _pipes(self._process)
            stdin.write(token.encode() + b"\n")
            stdin.flush()
            return str(json.loads(_line(stdout, START_SECONDS))["address"])
        except (OSError, EOFError, LookupError, TypeError, ValueError) as error:
            raise self._post_mortem(
                DeviceError(
                    "the local agent did not start",
                    "try: python -m device_agent --help",
                )
            ) from error

    def _post_mortem(self, error: DeviceError) -> DeviceError:
        """`error`, with how the agent ended where it did."""
        try:
            code = self._process.wait(POST_MORTEM_SECONDS)
        except subprocess.TimeoutExpired:
            return error
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        last = "; its last words:\n    " + "\n    ".join(lines) if lines else ""
        return DeviceError(f"the local agent {how}{last}", error.todo)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise OSError("the agent was started without pipes")
    return process.stdin, process.stdout


def _line(stream: IO[bytes], seconds: float) -> bytes:
    """The first line of `stream`; TimeoutError (an OSError) where it does not come in time."""
    deadline = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not line.endswith(b"\n") and len(line) < MAX_READY_LINE:
            if not selector.select(max(deadline - time.monotonic(), 0)):
                raise TimeoutError(f"nothing after {seconds:g} s")
            chunk = stream.read1(MAX_READY_LINE)  # type: ignore[attr-defined]
            if not chunk:
                raise EOFError("the agent closed its output")
            line += chunk
    return line
