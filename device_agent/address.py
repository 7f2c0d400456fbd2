"""Where the agent may listen: a Unix socket that nobody else can replace, or a loopback port."""

from __future__ import annotations

import ipaddress
import re
import stat
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes with its final zero.
MAX_SOCKET_PATH_BYTES = 107
_TCP = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[0-9.]+):(?P<port>\d{1,5})")


class AddressError(Exception):
    """An address that the agent does not listen on; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An accepted address; `port` is None for a Unix socket, 0 for any free port."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of `--listen`; AddressError where it would let strangers in."""
        if text.startswith("unix:"):
            return cls(str(_socket_path(text.removeprefix("unix:"))))
        match = _TCP.fullmatch(text)
        if match is None or int(match["port"]) > 65_535:
            raise AddressError(f"{text!r} is neither unix:PATH nor 127.0.0.1:PORT")
        try:
            host = ipaddress.ip_address(match["host"].strip("[]"))
        except ValueError as error:
            raise AddressError(f"{text!r}: {error}") from error
        if not host.is_loopback:
            raise AddressError(
                f"{text!r} can be reached from other machines; listen on 127.0.0.1 or a Unix socket"
            )
        return cls(match["host"], int(match["port"]))

    def bound(self, port: int) -> Address:
        """The same, with the port that the system chose."""
        return self if self.port is None else Address(self.host, port)

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.port is None else f"{self.host}:{self.port}"


def _socket_path(text: str) -> Path:
    if not text:
        raise AddressError("unix: needs a path")
    path = Path(text).absolute()
    if len(str(path).encode()) > MAX_SOCKET_PATH_BYTES:
        raise AddressError(f"a socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes: {path}")
    try:
        mode = path.parent.stat().st_mode
    except OSError as error:
        raise AddressError(f"{path.parent}: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        raise AddressError(f"others can replace files in {path.parent}: chmod go-w {path.parent}")
    if path.exists() and not path.is_socket():
        raise AddressError(f"{path} exists and is not a socket")
    return path
