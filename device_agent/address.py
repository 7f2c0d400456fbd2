"""Where the agent may listen.

A Unix socket that nobody else can replace, an abstract one (Android lets the shell make no other;
everybody can connect to it, so that the token alone decides), a loopback port, or with TLS any
address.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes with its final zero.
MAX_SOCKET_PATH_BYTES = 107
# After its leading zero, which gRPC writes.
_ABSTRACT = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TCP = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[0-9.]+):(?P<port>\d{1,5})")


class AddressError(Exception):
    """An address that the agent does not listen on; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An accepted address; `port` is None for a Unix socket, 0 for any free port."""

    host: str
    port: int | None = None
    abstract: bool = False

    @classmethod
    def parse(cls, text: str, *, tls: bool = False) -> Address:
        """The address of `--listen`; AddressError where it would let strangers in.

        `tls`: that hosts will have to show a certificate.
        """
        if text.startswith("unix:"):
            return cls(str(_socket_path(text.removeprefix("unix:"))))
        if text.startswith("unix-abstract:"):
            name = text.removeprefix("unix-abstract:")
            if not _ABSTRACT.fullmatch(name):
                raise AddressError("an abstract socket's name is 1 to 100 of A-Z a-z 0-9 . _ -")
            return cls(name, abstract=True)
        match = _TCP.fullmatch(text)
        if match is None or int(match["port"]) > 65_535:
            raise AddressError(f"{text!r} is none of unix:PATH, unix-abstract:NAME, 127.0.0.1:PORT")
        try:
            host = ipaddress.ip_address(match["host"].strip("[]"))
        except ValueError as error:
            raise AddressError(f"{text!r}: {error}") from error
        if not host.is_loopback and not tls:
            raise AddressError(
                f"{text!r} can be reached from other machines: give --tls with the folder that"
                " `adapt devices enroll` made, or listen on 127.0.0.1 or a Unix socket"
            )
        return cls(match["host"], int(match["port"]))

    def bound(self, port: int) -> Address:
        """The same, with the port that the system chose."""
        return self if self.port is None else Address(self.host, port)

    def __str__(self) -> str:
        if self.port is not None:
            return f"{self.host}:{self.port}"
        return f"unix-abstract:{self.host}" if self.abstract else f"unix:{self.host}"


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
