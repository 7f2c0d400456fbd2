"""Google's adbd in a network namespace of its own, and what stands between it and a host.

adbd listens on all addresses with its authentication compiled out: it must never run outside of a
namespace. A pair of virtual interfaces leads there, for loopback takes any packet whole.

    python -m tests.fleet.adb.lab

keeps one running, and prints its address: a device to try `--device` with.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]
FRONT = Path(__file__).with_name("front.py")
# Addresses for documentation: nobody's. A different pair for each run of the tests on a machine.
_SUBNET = "198.51.100"
ADBD_PORT = 7555
# The agent of this checkout, started on the "device", which is this machine.
AGENT = [sys.executable, "-s", "-m", "device_agent"]


def programs() -> Path:
    """The folder with adbd and adb; the test is skipped where there is none."""
    folder = Path(os.environ.get("ADAPT_ADBD", ROOT / ".adbd"))
    if not folder.is_dir():
        pytest.skip(f"adbd is not in {folder}: run sh tools/fetch_adbd.sh {folder}")
    return folder


def command(name: str) -> list[str]:
    """How a program of that folder is started, with the libraries that came with it."""
    root = programs()
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return [
        str(libraries / "ld-linux-x86-64.so.2"),
        *("--library-path", f"{libraries}:{libraries / 'android'}"),
        str(root / "usr/lib/android-sdk/platform-tools" / name),
    ]


class Namespace:
    """A network namespace and a way into it: `host` is this side's address, `device` the other."""

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("a network namespace needs root and the program ip (package iproute2)")
        number = os.getpid() % 62
        self.name = f"adapt-{os.getpid()}"
        self.host, self.device = (f"{_SUBNET}.{4 * number + i}" for i in (1, 2))
        outer, inner = f"ah{os.getpid()}", f"ad{os.getpid()}"
        try:
            self._ip("netns", "add", self.name)
            self._ip("link", "add", outer, "type", "veth", "peer", inner, "netns", self.name)
        except subprocess.CalledProcessError as error:
            self.close()
            pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
        self._ip("addr", "add", f"{self.host}/30", "dev", outer)
        self._ip("link", "set", outer, "up")
        self._ip("-n", self.name, "addr", "add", f"{self.device}/30", "dev", inner)
        self._ip("-n", self.name, "link", "set", inner, "up")
        self._ip("-n", self.name, "link", "set", "lo", "up")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same program, inside."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def close(self) -> None:
        """Remove it with its interfaces."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._ip("netns", "del", self.name)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def running(
    arguments: Sequence[str], log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, with all it starts ended at the end."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for `condition`; the test fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def listens(host: str, port: int) -> bool:
    """Whether somebody does."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def agents() -> set[int]:
    """Agents that links have started and that live, without the shells that started them."""
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        # None of a process that ended meanwhile.
        program, *arguments = process.info["cmdline"] or [""]
        if program == sys.executable and "unix-abstract:adapt-" in " ".join(arguments):
            found.add(process.pid)
    return found


@contextlib.contextmanager
def adbd(namespace: Namespace, log: Path) -> Iterator[tuple[str, int]]:
    """A running adbd, whose programs find this checkout; the address that leads to it."""
    environment = {"ADBD_PORT": str(ADBD_PORT), "PYTHONPATH": str(ROOT)}
    with running(namespace.command(command("adbd")), log, **environment):
        until(lambda: listens(namespace.device, ADBD_PORT))
        yield namespace.device, ADBD_PORT


@contextlib.contextmanager
def front(
    namespace: Namespace, port: int, mode: str, keys: Path, log: Path
) -> Iterator[tuple[str, int]]:
    """An adbd that asks for keys, `front.py` before the real one; the address that leads to it."""
    arguments = [sys.executable, str(FRONT), namespace.device, str(port), str(ADBD_PORT)]
    with running(namespace.command([*arguments, mode, str(keys)]), log):
        until(lambda: listens(namespace.device, port))
        yield namespace.device, port


@contextlib.contextmanager
def adb_server(
    folder: Path, *, usb: bool = False
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """A running adb server, as a function that is Google's `adb` with its arguments.

    It leaves devices on USB alone, unless `usb`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "HOME": str(folder),
        "ANDROID_ADB_SERVER_PORT": str(port),
        # It would look for devices on the network, and on USB.
        "ADB_MDNS": "0",
        "ADB_USB": str(int(usb)),
    }
    server = [*command("adb"), "nodaemon", "server"]
    with running(server, folder / "server.log", **environment):
        until(lambda: listens("127.0.0.1", port))

        def adb(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command("adb"), *arguments],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=60,
            )

        adb.port = port  # type: ignore[attr-defined]
        yield adb


class Proxy:
    """Stands between a host and adbd, and spoils the connection when told to.

    `left` is how many bytes towards `spoiled` ("host" or "device") still pass, None for all;
    behind them the connection is cut, or where `silent` nothing passes any more. `delay_s` is
    added to each piece.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.spoiled = ""
        self.left: int | None = None
        self.silent = False
        self.delay_s = 0.0
        self.accepting = True
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._spawn(self._accept)

    def spoil(self, towards: str, after: int = 0, *, silent: bool = False) -> None:
        """From now on."""
        self.left, self.silent, self.spoiled = after, silent, towards

    def cut(self) -> None:
        """Close all connections, and those that come later at once."""
        self.accepting = False
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everything pass again, on new connections."""
        self.left, self.silent, self.spoiled = None, False, ""
        self.delay_s, self.accepting = 0.0, True

    def close(self) -> None:
        """End."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._sockets):
            end.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                host, _ = self._listener.accept()
                if not self.accepting:
                    host.close()
                    continue
                device = socket.create_connection(self._target)
                self._sockets += [host, device]
                for source, sink, towards in ((host, device, "device"), (device, host, "host")):
                    self._spawn(self._carry, source, sink, towards)

    def _carry(self, source: socket.socket, sink: socket.socket, towards: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.delay_s)
                if self.spoiled == towards and self.left is not None:
                    data, over = data[: self.left], len(data) > self.left
                    self.left -= len(data)
                    if over and not self.silent:
                        sink.sendall(data)
                        break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Keep an adbd running until Ctrl-C or SIGTERM, and print its address."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        namespace = Namespace()
    except pytest.skip.Exception as reason:
        raise SystemExit(str(reason)) from None
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        stack.callback(namespace.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        address = stack.enter_context(adbd(namespace, Path(folder) / "log"))
        print("{}:{}".format(*address), flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
