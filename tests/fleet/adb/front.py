"""The part of a phone's adbd that the packaged one lacks: it asks hosts for a key.

    python front.py ADDRESS PORT ADBD_PORT MODE KEYS

Listens on ADDRESS:PORT; a host whose key is in the file KEYS, one public key a line, is connected
to the adbd on this machine's ADBD_PORT. Of others, MODE "accept" does what a user does who accepts
the prompt, "ignore" one who does not look, "deny" one who refuses.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

AUTH, CNXN = (int.from_bytes(name, "little") for name in (b"AUTH", b"CNXN"))
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3


def receive(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = connection.recv(size - len(found))
        if not chunk:
            raise ConnectionError
        found += chunk
    return found


def packet(connection: socket.socket) -> tuple[int, int, bytes, bytes]:
    """Command, first argument, payload, and all as it came."""
    header = receive(connection, 24)
    command, arg0, _, length = struct.unpack("<4I", header[:16])
    data = receive(connection, length)
    return command, arg0, data, header + data


def message(command: int, arg0: int, data: bytes) -> bytes:
    magic = command ^ 0xFFFFFFFF
    return struct.pack("<6I", command, arg0, 0, len(data), sum(data), magic) + data


def signed_by(line: str, token: bytes, signature: bytes) -> bool:
    """Whether the key of a line, in Android's format, made the signature."""
    blob = base64.b64decode(line.split()[0])
    size = 4 * int.from_bytes(blob[:4], "little")
    modulus = int.from_bytes(blob[8 : 8 + size], "little")
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    with contextlib.suppress(InvalidSignature):
        key.verify(signature, token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))
        return True
    return False


def let_in(host: socket.socket, mode: str, keys: Path) -> bytes:
    """The host's first packet, once its key is known; ConnectionError where it is refused."""
    *_, first = packet(host)
    while True:
        token = os.urandom(20)
        host.sendall(message(AUTH, TOKEN, token))
        command, kind, data, _ = packet(host)
        if command != AUTH:
            raise ConnectionError
        if kind == SIGNATURE:
            if any(signed_by(line, token, data) for line in keys.read_text().splitlines()):
                return first
        elif kind == PUBLIC_KEY:
            if mode == "deny":
                raise ConnectionError
            if mode == "ignore":
                host.recv(1)
                raise ConnectionError
            time.sleep(0.2)
            with keys.open("a") as file:
                file.write(data.rstrip(b"\0").decode() + "\n")
            return first


def carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def serve(host: socket.socket, adbd_port: int, mode: str, keys: Path) -> None:
    with host, contextlib.suppress(ConnectionError):
        first = let_in(host, mode, keys)
        with socket.create_connection(("127.0.0.1", adbd_port)) as device:
            device.sendall(first)
            down = threading.Thread(target=carry, args=(device, host), daemon=True)
            down.start()
            carry(host, device)
            down.join()


def main() -> None:
    address, port, adbd_port, mode, keys = sys.argv[1:]
    with socket.create_server((address, int(port))) as listener:
        while True:
            host, _ = listener.accept()
            arguments = (host, int(adbd_port), mode, Path(keys))
            threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
