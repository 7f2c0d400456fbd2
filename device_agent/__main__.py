"""Command line of the agent.

    python -m device_agent --listen unix:/run/agent/socket --token-stdin
    python -m device_agent --listen 127.0.0.1:0 --token-file /etc/device-agent.token
    python -m device_agent --listen 0.0.0.0:7070 --tls ENROLLED --token-file ENROLLED/token

One line of JSON on stdout tells the address once it serves; logs go to stderr. SIGTERM lets the
running batch end; a second one does not. With --token-stdin it also ends when stdin does, or falls
silent for --silence-seconds, so that it never outlives the host that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import grpc

from device_agent import __version__, probe
from device_agent.address import Address, AddressError
from device_agent.auth import TokenError, read_credentials, read_token, read_token_file
from device_agent.batch import HANG_SECONDS
from device_agent.power import find_meters
from device_agent.process import WorkerError, identify_runtime
from device_agent.server import DeviceAgent, Server

# systemd kills 90 s after SIGTERM.
DRAIN_SECONDS = 80.0
# Above it, silence would be no sign of anything; select takes no more than some centuries.
MAX_SILENCE_SECONDS = 86_400.0
USAGE_ERROR = 2
CANNOT_SERVE = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m device_agent` and of the script `device-agent`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.silence_seconds is not None:
        if not options.token_stdin:
            parser.error("--silence-seconds goes with --token-stdin")
        # Not so for nan either.
        if not 0 < options.silence_seconds <= MAX_SILENCE_SECONDS:
            parser.error(f"--silence-seconds: give more than 0, at most {MAX_SILENCE_SECONDS:g}")
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        address = Address.parse(options.listen, tls=options.tls is not None)
        credentials = read_credentials(options.tls) if options.tls else None
        token = read_token(0) if options.token_stdin else read_token_file(options.token_file)
    except (AddressError, TokenError) as error:
        _fail(str(error), USAGE_ERROR)
    # The socket's mode follows the umask: nobody else may connect.
    os.umask(0o077)
    try:
        asyncio.run(_serve(address, token, credentials, options))
    except (RuntimeError, WorkerError) as error:
        _fail(f"cannot serve on {address}: {error}", CANNOT_SERVE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="device-agent", description="Times TFLite models on this device for a host."
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--listen",
        required=True,
        metavar="ADDRESS",
        help="unix:PATH, unix-abstract:NAME or 127.0.0.1:PORT (0: free); with --tls any HOST:PORT",
    )
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="FOLDER",
        help="certificates made by `adapt devices enroll`: only their host may connect",
    )
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument(
        "--token-stdin", action="store_true", help="first line of stdin; exit when stdin ends"
    )
    token.add_argument("--token-file", type=Path, metavar="FILE", help="of mode 0600")
    parser.add_argument(
        "--silence-seconds",
        type=float,
        metavar="SECONDS",
        help="with --token-stdin: exit when nothing comes for so long (default: wait for its end)",
    )
    parser.add_argument(
        "--hang-seconds",
        type=float,
        default=HANG_SECONDS,
        help="silence of a worker that means it hangs (default: %(default)g)",
    )
    parser.add_argument(
        "--power-root",
        type=Path,
        default=Path("/"),
        metavar="FOLDER",
        help="where the energy meters' files are: for containers, which see the device's sysfs"
        " elsewhere, and for tests (default: %(default)s)",
    )
    return parser


def _fail(message: str, code: int) -> None:
    print(f"device-agent: {message}", file=sys.stderr)
    raise SystemExit(code)


async def _serve(
    address: Address,
    token: str,
    credentials: grpc.ServerCredentials | None,
    options: argparse.Namespace,
) -> None:
    facts = await identify_runtime()
    root = Path("/")
    meters = find_meters(options.power_root)
    identity = probe.identity(root, facts, meters)
    server = Server(token, DeviceAgent(identity, root, options.hang_seconds, meters))
    reasons = _reasons_to_stop(options.token_stdin, options.silence_seconds)
    bound = await server.start(address, credentials)
    print(json.dumps({"address": str(bound)}), flush=True)
    draining = asyncio.ensure_future(server.stop(await reasons.get()))
    another = asyncio.ensure_future(reasons.get())
    await asyncio.wait({draining, another}, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        await server.stop(None)
    another.cancel()


def _reasons_to_stop(
    ends_with_stdin: bool, silence_seconds: float | None
) -> asyncio.Queue[float | None]:
    """A queue that gets the grace in seconds (None: at once) with each reason to stop."""
    loop = asyncio.get_running_loop()
    reasons: asyncio.Queue[float | None] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, reasons.put_nowait, DRAIN_SECONDS)
    if ends_with_stdin:
        arguments = (loop, reasons, silence_seconds)
        threading.Thread(target=_watch_stdin, args=arguments, daemon=True).start()
    return reasons


def _watch_stdin(
    loop: asyncio.AbstractEventLoop,
    reasons: asyncio.Queue[float | None],
    silence_seconds: float | None,
) -> None:
    # Unbuffered: a lock held by this thread would trouble the interpreter's end.
    try:
        while select.select([0], [], [], silence_seconds)[0] and os.read(0, 4096):
            pass
    finally:
        # Nobody would notice any more that the host is gone.
        loop.call_soon_threadsafe(reasons.put_nowait, None)


if __name__ == "__main__":
    main()
