"""A link through a running adb server, by its socket protocol.

While a server runs it holds the phones on USB, and it alone speaks wireless debugging's TLS. It
is never started here and never stopped: it is the user's.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from adapt.fleet.adb.base import AdbLink
from adapt.fleet.link import STALL_SECONDS, Gone, LinkError, Refused, TimedOut, Unauthorised

__all__ = ["Listed", "Server", "ServerLink"]

DEFAULT_PORT = 5037
CONNECT_SECONDS = 2.0
CHUNK_BYTES = 256 << 10
MAX_ANSWER_BYTES = 0xFFFF
MAX_MESSAGE = 300
_LISTED = re.compile(
    r"^(?P<serial>\S+)\s+(?P<state>no permissions|\S+)(?:.*\bmodel:|)(?P<model>\S*)", re.MULTILINE
)
_ACCEPT = "unlock the phone and accept the prompt `Allow USB debugging?`, then try again"
_AGAIN = "check the cable or the network, and that the device is on; then try again"


@dataclass(frozen=True, slots=True)
class Listed:
    """A device as a server lists it: "device" is the state of one that can be used."""

    serial: str
    state: str
    model: str


class Server:
    """The adb server at `host`:`port`, by default the one that the environment names."""

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        default_host, default_port = _from_environment()
        self._address = (host or default_host, port or default_port)

    def devices(self) -> list[Listed] | None:
        """The devices that it lists; None where no server runs."""
        try:
            connection = self._request("host:devices-l")
        except Gone:
            return None
        with connection:
            text = _answer(connection)
        found = []
        for match in _LISTED.finditer(text):
            found.append(Listed(match["serial"], match["state"], match["model"].replace("_", " ")))
        return found

    def features(self, serial: str) -> frozenset[str]:
        """What the device's adb offers."""
        with self._request(f"host-serial:{serial}:features", serial) as connection:
            return frozenset(_answer(connection).split(","))

    def connect(self, serial: str, destination: str) -> socket.socket:
        """A socket that has become a connection to a service of the device."""
        connection = self._request(f"host:transport:{serial}", serial)
        try:
            _send(connection, destination)
            _expect_okay(connection, serial)
        except BaseException:
            connection.close()
            raise
        return connection

    def _request(self, request: str, serial: str = "") -> socket.socket:
        """A connection on which `request` was accepted."""
        try:
            connection = socket.create_connection(self._address, CONNECT_SECONDS)
        except (OSError, UnicodeError, OverflowError) as error:
            raise Gone(
                f"no adb server answers: {error}", "start it with: adb start-server"
            ) from error
        try:
            connection.settimeout(STALL_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _send(connection, request)
            _expect_okay(connection, serial)
        except BaseException:
            connection.close()
            raise
        return connection


class ServerLink(AdbLink):
    """A Link through `server`; Gone, Unauthorised or Refused where the device cannot be used."""

    def __init__(self, serial: str, server: Server | None = None) -> None:
        super().__init__(serial)
        self._server = server or Server()
        self._lock = threading.Lock()
        self._streams: set[SocketStream] = set()
        self._closed = False
        if "shell_v2" not in self._server.features(serial):
            raise Refused(f"the adb of {serial} is too old", "Android 7 or newer is needed")

    def open_stream(self, destination: str) -> SocketStream:
        """Connect to a service of the device."""
        connection = self._server.connect(self.serial, destination)
        stream = SocketStream(connection, self)
        with self._lock:
            self._streams.add(stream)
            closed = self._closed
        if closed:
            stream.close()
            raise Gone(f"the link to {self.serial} was closed", "open it again")
        return stream

    def close(self) -> None:
        """End all streams; may be called twice."""
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.close()

    def forget(self, stream: SocketStream) -> None:
        """Take a stream off the books."""
        with self._lock:
            self._streams.discard(stream)


class SocketStream:
    """One stream; made by ServerLink.open_stream."""

    def __init__(self, connection: socket.socket, link: ServerLink) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._link = link
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def read(self, timeout_s: float | None = None) -> bytes:
        """What has come; b"" at the end."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._used() as closed:
            while not closed:
                self._wait(select.POLLIN, deadline, "sent nothing in time")
                try:
                    return self._socket.recv(CHUNK_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    break
        return b""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        with self._used() as closed:
            if closed:
                raise Refused(f"the stream to {self._link.serial} was closed", "open it again")
            while view:
                deadline = time.monotonic() + STALL_SECONDS
                self._wait(select.POLLOUT, deadline, "takes no more data")
                try:
                    view = view[self._socket.send(view) :]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Refused(
                        f"{self._link.serial} has closed the stream", "try again"
                    ) from error

    def close(self) -> None:
        """End both directions; may be called twice."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            # Whoever still reads or writes closes it: its number must not be reused before.
            if not self._users:
                self._socket.close()
        self._link.forget(self)

    @contextlib.contextmanager
    def _used(self) -> Iterator[bool]:
        """Keeps the socket from being closed meanwhile; whether it has been."""
        with self._lock:
            self._users += 1
            closed = self._closed
        try:
            yield closed
        finally:
            with self._lock:
                self._users -= 1
                if self._closed and not self._users:
                    self._socket.close()

    def _wait(self, event: int, deadline: float | None, otherwise: str) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        if not poll.poll(left):
            raise TimedOut(f"{self._link.serial} {otherwise}", "try again")


def _from_environment() -> tuple[str, int]:
    """Where adb itself would look for its server."""
    match = re.fullmatch(
        r"tcp:(?:(?P<host>[^:]+):)?(?P<port>\d{1,5})", os.environ.get("ADB_SERVER_SOCKET", "")
    )
    if match:
        return match["host"] or "127.0.0.1", int(match["port"])
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS", "") or "127.0.0.1"
    return host, int(port) if port.isdecimal() else DEFAULT_PORT


def _send(connection: socket.socket, request: str) -> None:
    data = request.encode()
    if len(data) > MAX_ANSWER_BYTES:
        raise Refused(f"a command of {len(data)} bytes is too long for adb", "make it shorter")
    try:
        connection.sendall(f"{len(data):04x}".encode() + data)
    except OSError as error:
        raise Gone(f"the adb server closed the connection: {error}", _AGAIN) from error


def _expect_okay(connection: socket.socket, serial: str) -> None:
    status = _exactly(connection, 4)
    if status == b"OKAY":
        return
    said = " ".join(_answer(connection).split())[:MAX_MESSAGE] if status == b"FAIL" else "nonsense"
    raise _failure(serial, said)


def _failure(serial: str, said: str) -> LinkError:
    """What the server says no with, as the error that it means."""
    name = serial or "the adb server"
    if "unauthorized" in said or "authorizing" in said:
        return Unauthorised(f"{name} does not accept the adb server's key", _ACCEPT)
    if "not found" in said or "offline" in said or "no devices" in said:
        return Gone(f"the adb server cannot reach {name}: {said}", _AGAIN)
    return Refused(f"{name} refused: {said}", "see what `adb devices` says of it")


def _answer(connection: socket.socket) -> str:
    """A text behind its length in four hexadecimal digits."""
    try:
        length = int(_exactly(connection, 4), 16)
    except ValueError as error:
        raise LinkError(
            "the adb server makes no sense", "is another program on its port?"
        ) from error
    return _exactly(connection, length).decode(errors="replace")


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        try:
            chunk = connection.recv(size - len(found))
        except TimeoutError as error:
            raise TimedOut("the adb server did not answer in time", _AGAIN) from error
        except OSError as error:
            raise Gone(f"the adb server closed the connection: {error}", _AGAIN) from error
        if not chunk:
            raise Gone("the adb server closed the connection", _AGAIN)
        found += chunk
    return bytes(found)
