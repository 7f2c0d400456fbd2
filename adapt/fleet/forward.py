"""A local socket that leads to a service of a device, for gRPC, which wants a socket."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from pathlib import Path

from adapt.fleet.link import Link, LinkError, Stream

__all__ = ["Forward"]

CHUNK_BYTES = 256 << 10
CLOSE_SECONDS = 2.0
BACKLOG = 8


class Forward:
    """Each connection to `target`, a gRPC address, becomes a stream to `destination`.

    Nobody but this user can connect. A connection that the device does not take is closed.
    """

    def __init__(self, link: Link, destination: str) -> None:
        self._link = link
        self._destination = destination
        self._folder = tempfile.TemporaryDirectory(prefix="adapt-link-")
        path = Path(self._folder.name) / "socket"
        self.target = f"unix:{path}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(BACKLOG)
        self._lock = threading.Lock()
        self._closed = False
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._spawn(self._accept)

    def close(self) -> None:
        """End all connections; may be called twice."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            ends = [self._listener, *self._open]
        for end in ends:
            # Wakes whoever waits for it; that thread closes it.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(CLOSE_SECONDS)
        self._folder.cleanup()

    def _spawn(self, target: object, *arguments: object) -> None:
        def work() -> None:
            try:
                target(*arguments)  # type: ignore[operator]
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=work, name="adapt-forward", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener, contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self._open.add(connection)
                    closed = self._closed
                if closed:
                    connection.close()
                    return
                self._spawn(self._carry, connection)

    def _carry(self, connection: socket.socket) -> None:
        """Carry bytes both ways until either side ends."""
        with connection:
            try:
                stream = self._link.open_stream(self._destination)
            except LinkError:
                stream = None
            if stream is not None:
                down = threading.Thread(target=_download, args=(stream, connection), daemon=True)
                down.start()
                _upload(connection, stream)
                down.join()
        with self._lock:
            self._open.discard(connection)


def _upload(connection: socket.socket, stream: Stream) -> None:
    with contextlib.suppress(OSError, LinkError):
        while data := connection.recv(CHUNK_BYTES):
            stream.write(data)
    stream.close()


def _download(stream: Stream, connection: socket.socket) -> None:
    with contextlib.suppress(OSError, LinkError):
        while data := stream.read():
            connection.sendall(data)
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
