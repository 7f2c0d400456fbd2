"""Agents as a board runs them, with no host that started them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

from device_agent import launcher


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """An agent that serves."""
    command = launcher.command("device_agent", *arguments, python=[sys.executable])
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=launcher.environment(),
    ) as process:
        try:
            assert process.stdout is not None
            assert b"address" in process.stdout.readline()
            yield process
        finally:
            process.kill()
