"""Linux boards whose agents listen on the network, with TLS on both sides.

Each board has a certificate authority of its own, which signs one certificate for the board and
one for this host, and whose key is then forgotten: nothing else can ever be signed by it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from adapt.errors import InputError, UsageError
from adapt.fleet.client import AGENT_NAME, AgentClient
from adapt.fleet.started import TOKEN_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

__all__ = ["Board", "boards", "enroll"]

# Boards without a battery begin in 1970, and nobody wants to enroll one again.
NOT_BEFORE = datetime(1970, 1, 2, tzinfo=UTC)
NOT_AFTER = datetime(2049, 12, 31, tzinfo=UTC)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})")
_ENTRY = "board.json"
_HOST_FILES = ("ca.pem", "host.pem", "host.key", "token")
_RESERVED = {"local": "it is this machine", "eyeriss": "it is the model of a chip"}


@dataclass(frozen=True, slots=True)
class Board:
    """An enrolled board; `folder` keeps what this host shows it."""

    name: str
    address: str
    folder: Path

    def connect(self) -> AgentClient:
        """A client of its agent, which need not run yet. InputError for damaged files."""
        try:
            authority, certificate, key, token = (
                (self.folder / name).read_bytes() for name in _HOST_FILES
            )
        except OSError as error:
            raise InputError(
                f"{error.filename}: {error.strerror}", f"enroll {self.name} again"
            ) from error
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        return AgentClient(
            self.name, f"dns:///{self.address}", token.decode().strip(), credentials=credentials
        )


def boards(home: Path) -> list[Board]:
    """The enrolled boards, by name."""
    found = []
    for entry in sorted((home / "devices").glob(f"*/{_ENTRY}")):
        try:
            address = json.loads(entry.read_text())["address"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{entry} is damaged: {error}", "enroll the board again") from error
        found.append(Board(entry.parent.name, str(address), entry.parent))
    return found


def enroll(home: Path, name: str, address: str, output: Path) -> Board:
    """Make the certificates and the token of a board whose agent will listen at `address`.

    What the board needs is written to the new folder `output`, what this host needs to `home`. A
    board that is enrolled already gets new ones: its old ones are worth nothing any more.
    UsageError for a name or an address that cannot be, InputError where `output` exists.
    """
    if name in _RESERVED:
        raise UsageError(f"the name {name} is taken: {_RESERVED[name]}", "Choose another.")
    if not _NAME.fullmatch(name):
        raise UsageError(f"not a name for a board: {name!r}", "Use letters, digits and . _ -")
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[2]) < 1 << 16:
        raise UsageError(f"not an address: {address!r}", "Give it as HOST:PORT.")
    authority, authority_key = _certificate("adapt")
    agent, agent_key = _certificate(AGENT_NAME, authority, authority_key)
    host, host_key = _certificate("adapt-host", authority, authority_key)
    token = secrets.token_hex(TOKEN_BYTES).encode() + b"\n"
    shared = {"ca.pem": _pem(authority), "token": token}
    try:
        _write(output, shared | {"agent.pem": _pem(agent), "agent.key": _key_pem(agent_key)})
    except FileExistsError as error:
        raise InputError(f"{output} exists already", "Name another folder.") from error
    folder = home / "devices" / name
    shutil.rmtree(folder, ignore_errors=True)
    entry = json.dumps({"address": address}).encode()
    files = shared | {"host.pem": _pem(host), "host.key": _key_pem(host_key), _ENTRY: entry}
    _write(folder, files)
    return Board(name, address, folder)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """A new folder of files that nobody else can read."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)


def _certificate(
    name: str,
    authority: Certificate | None = None,
    authority_key: EllipticCurvePrivateKey | None = None,
) -> tuple[Certificate, EllipticCurvePrivateKey]:
    """A certificate with its key; without an authority it is one itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(authority_key or key, hashes.SHA256())
    )
    return certificate, key


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
