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
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from adapt.errors import DeviceError
from adapt.fleet.client import AgentClient
from adapt.fleet.started import START_SECONDS, TOKEN_BYTES, StartedAgent, how_it_ended
from device_agent import launcher

__all__ = ["LocalDevice"]

# An agent ends by itself when its stdin does; then it is killed.
CLOSE_SECONDS = 5.0
# How long a broken call waits to see whether the agent is gone.
POST_MORTEM_SECONDS = 1.0
MAX_READY_LINE = 4096


class LocalDevice(StartedAgent):
    """An agent on this machine, started at once and ended by `close`; a context manager.

    MODULE is what runs as the agent; a subclass may have another.

    `python` runs the agent, by default the interpreter that runs this; `arguments` are added to
    its command line.
    """

    MODULE = "device_agent"

    def __init__(self, python: Path | None = None, arguments: Sequence[str] = ()) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="adapt-agent-")
        self._log = Path(self._folder.name) / "log"
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

    def _start(self, python: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        socket = Path(self._folder.name) / "socket"
        command = launcher.command(
            self.MODULE,
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
                    f"the {self.name} agent did not start",
                    f"try: python -m {self.MODULE} --help",
                )
            ) from error

    def _post_mortem(self, error: DeviceError) -> DeviceError:
        """`error`, with how the agent ended where it did."""
        try:
            code = self._process.wait(POST_MORTEM_SECONDS)
        except subprocess.TimeoutExpired:
            return error
        log = self._log.read_text(errors="replace")
        return how_it_ended(f"the {self.name} agent", code, log, error.todo)


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
