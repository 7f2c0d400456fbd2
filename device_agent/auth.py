"""What a host must show: its token, and with TLS a certificate."""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import grpc

from device_agent.health import SERVICE as HEALTH_SERVICE

# 128 bits in hex; hosts of this project send 256.
MIN_TOKEN_CHARACTERS = 32
MAX_TOKEN_BYTES = 4096
MAX_PEM_BYTES = 64 << 10

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class TokenError(Exception):
    """A token or a key that must not be used; the message says why."""


def read_token(descriptor: int) -> str:
    """The first line of `descriptor`, read byte by byte so that nothing behind it is taken."""
    line = b""
    while len(line) <= MAX_TOKEN_BYTES:
        byte = os.read(descriptor, 1)
        if byte in (b"", b"\n"):
            break
        line += byte
    token = line.decode("ascii", errors="replace").strip()
    if not token.isascii() or not token.isprintable():
        raise TokenError("the token must be printable ASCII")
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise TokenError(f"the token has {len(token)} characters, needs {MIN_TOKEN_CHARACTERS}")
    return token


def read_token_file(path: Path) -> str:
    """The first line of a file that its owner alone can read."""
    with _secret(path) as file:
        return read_token(file.fileno())


def read_credentials(folder: Path) -> grpc.ServerCredentials:
    """TLS with the certificates in `folder`: hosts must show one that ca.pem signed."""
    with _secret(folder / "agent.key") as file:
        key = file.read(MAX_PEM_BYTES)
    try:
        certificate, authority = (
            (folder / name).read_bytes()[:MAX_PEM_BYTES] for name in ("agent.pem", "ca.pem")
        )
    except OSError as error:
        raise TokenError(f"{error.filename}: {error.strerror}") from error
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


@contextlib.contextmanager
def _secret(path: Path) -> Iterator[BinaryIO]:
    """A file that its owner alone can read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise TokenError(f"{path} is not a regular file")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise TokenError(f"others can use {path}: chmod 600 {path}")
            if status.st_uid not in (os.geteuid(), 0):
                raise TokenError(f"{path} belongs to user {status.st_uid}")
            yield file
    except OSError as error:
        raise TokenError(f"{path}: {error.strerror}") from error


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call without the token as UNAUTHENTICATED, before its request is read.

    Health is left open: whoever starts the agent must be able to ask whether it serves.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """The handler of the call where the token is right, else one that refuses."""
        open_to_all = handler_call_details.method.startswith(f"/{HEALTH_SERVICE}/")
        if open_to_all or self._shown(handler_call_details):
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _shown(self, details: grpc.HandlerCallDetails) -> bool:
        for key, value in details.invocation_metadata or ():
            if key == "authorization":
                shown = value if isinstance(value, bytes) else value.encode()
                return hmac.compare_digest(shown, self._expected)
        return False


async def _refuse(_request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")
    return b""
