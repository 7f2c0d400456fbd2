"""Links that break, stall and lie: typed errors, in time, and no agent left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from adb_shell.adb_message import AdbMessage

from adapt.errors import DeviceError
from adapt.fleet import phones
from adapt.fleet.adb import files, handshake, shell
from adapt.fleet.adb.direct import DirectLink
from adapt.fleet.adb.keys import Key
from adapt.fleet.adb.packets import Packet
from adapt.fleet.adb.server import Server
from adapt.fleet.adb.shell import Pipe
from adapt.fleet.adb.transport import Tcp
from adapt.fleet.device import MeasureOptions, ModelFile, Progress
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Gone, Link, LinkError, Refused, ShellResult, Stream, TimedOut
from adapt.fleet.reconnecting import ReconnectingDevice
from adapt.fleet.remote import RemoteDevice
from tests.fleet.adb import lab

# Never settles within the few seconds that a test needs.
SLOW = MeasureOptions(
    target_relative_error=0.0005, max_windows=200, window_us=1_000_000, time_limit_ms=60_000
)
LONG = "ADAPT_LONG" in os.environ
# What takes five seconds takes three times as long on a machine that does much else.
PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds where a user waits tens of them; all bounds stay in proportion."""
    for module in (
        "link",
        "adb.transport",
        "adb.packets",
        "adb.handshake",
        "adb.mux",
        "adb.server",
    ):
        name = f"adapt.fleet.{module}.STALL_SECONDS"
        monkeypatch.setattr(name, 3.0)
    monkeypatch.setattr("adapt.fleet.adb.files.STALL_SECONDS", 3.0)
    monkeypatch.setattr("adapt.fleet.remote.HEARTBEAT_SECONDS", 0.5)
    monkeypatch.setattr("adapt.fleet.remote.SILENCE_SECONDS", 5.0)
    monkeypatch.setattr("adapt.fleet.reconnecting.RETRY_SECONDS", 0.1)


@pytest.mark.parametrize("towards", ["host", "device"])
@pytest.mark.parametrize("after", [0, 10, 24, 30, 40_000] if LONG else [10, 40_000])
def test_a_push_that_is_cut_off(
    spoilt: Callable[[], Link],
    proxy: lab.Proxy,
    content: Path,
    tmp_path: Path,
    towards: str,
    after: int,
) -> None:
    remote = tmp_path / "remote"
    with spoilt() as link:
        proxy.spoil(towards, after)
        # Towards the host less than 40 kB comes: there the push may even succeed.
        if (towards, after) != ("host", 40_000):
            with pytest.raises(LinkError):
                link.push(content, str(remote))
            assert not remote.exists()
    proxy.mend()
    with spoilt() as link:
        link.push(content, str(remote))
    assert remote.read_bytes() == content.read_bytes()


@pytest.mark.parametrize("after", [0, 10, 30] if LONG else [10])
def test_a_device_that_falls_silent(
    spoilt: Callable[[], Link], proxy: lab.Proxy, content: Path, tmp_path: Path, after: int
) -> None:
    with spoilt() as link:
        proxy.spoil("host", after, silent=True)
        with pytest.raises((TimedOut, Gone)):
            link.shell(["true"], timeout_s=0.5)
        with pytest.raises((TimedOut, Gone)):
            link.push(content, str(tmp_path / "remote"))


def test_a_slow_link_is_no_fault(
    spoilt: Callable[[], Link], proxy: lab.Proxy, content: Path, tmp_path: Path
) -> None:
    with spoilt() as link:
        proxy.delay_s = 0.02
        link.push(content, str(tmp_path / "remote"))
        assert link.shell(["echo", "hi"], timeout_s=10).stdout == b"hi\n"


def test_closing_wakes_whoever_waits(spoilt: Callable[[], Link], proxy: lab.Proxy) -> None:
    with spoilt() as link:
        stream = link.open_stream("shell,v2,raw:cat")
        ends: list[object] = []

        def read() -> None:
            try:
                ends.append(stream.read())
            except LinkError as error:
                ends.append(type(error))

        reader = threading.Thread(target=read)
        reader.start()
        proxy.cut()
        reader.join(10)
        assert ends in ([b""], [Gone])


def test_no_agent_outlives_a_link_that_breaks(
    spoilt: Callable[[], Link], proxy: lab.Proxy, small_model: bytes
) -> None:
    assert lab.agents() == set()
    with RemoteDevice("phone", spoilt(), lab.AGENT) as device:
        assert len(lab.agents()) == 1
        with pytest.raises(LinkError):
            device.measure([ModelFile("a", small_model)], SLOW, once(proxy.cut))
        lab.until(lambda: lab.agents() == set(), PATIENCE_SECONDS)


def test_no_agent_outlives_a_host_that_vanishes_without_a_word(
    spoilt: Callable[[], Link], proxy: lab.Proxy
) -> None:
    with RemoteDevice("phone", spoilt(), lab.AGENT):
        assert len(lab.agents()) == 1
        proxy.spoil("device", silent=True)
        lab.until(lambda: lab.agents() == set(), PATIENCE_SECONDS)


def test_a_measurement_survives_a_pulled_cable(
    spoilt: Callable[[], Link], proxy: lab.Proxy, small_model: bytes
) -> None:
    notes: list[str] = []
    device = ReconnectingDevice(
        "phone", lambda: RemoteDevice("phone", spoilt(), lab.AGENT), notes.append, PATIENCE_SECONDS
    )

    def pull() -> None:
        proxy.cut()
        threading.Timer(1.5, proxy.mend).start()

    try:
        before = device.platform("xnnpack", 1)
        options = MeasureOptions(
            target_relative_error=0.0005, max_windows=8, window_us=50_000, time_limit_ms=20_000
        )
        batch = device.measure([ModelFile("a", small_model)], options, once(pull))
        assert batch.outcomes["a"].windows
        assert device.platform("xnnpack", 1) == before
    finally:
        device.close()
    assert "waiting for phone to come back" in notes[0]
    assert notes[-1] == "phone is back"


def test_a_device_that_stays_away(open_direct: Callable[..., Link], proxy: lab.Proxy) -> None:
    connect = lambda: RemoteDevice("phone", open_direct(proxy.address), lab.AGENT)  # noqa: E731
    device = ReconnectingDevice("phone", connect, lambda line: None, 0.3)
    proxy.cut()
    with pytest.raises(Gone, match=r"has been away for 0\.3 s"):
        device.describe()
    device.close()
    with pytest.raises(DeviceError, match="has been closed"):
        device.describe()


def test_an_agent_that_cannot_start(open_direct: Callable[[], Link]) -> None:
    with pytest.raises(DeviceError, match=r"exit status 3; its last words:\n +no such module"):
        RemoteDevice("phone", open_direct(), ["sh", "-c", "echo no such module >&2; exit 3"])
    with pytest.raises(DeviceError, match="was killed by signal 9"):
        RemoteDevice("phone", open_direct(), ["sh", "-c", "kill -9 $$"])
    with pytest.raises(DeviceError, match="said nonsense"):
        RemoteDevice("phone", open_direct(), ["sh", "-c", "echo hi; cat"])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n....",
        b"CNXN" + bytes(20),
        bytes.fromhex("434e584e 00000001 00001000 ffffffff 00000000 bcb1a7b1"),
        bytes.fromhex("434e584e 00000001 00001000 05000000 00000000 bcb1a7b1") + b"devic",
    ],
)
def test_something_else_that_answers(answer: bytes, key: Key) -> None:
    with _talker(answer) as address, pytest.raises(LinkError):
        DirectLink("phone", Tcp(*address), key)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "."])
def test_names_that_no_host_can_have(host: str) -> None:
    with pytest.raises(Gone, match="cannot be reached"):
        Tcp(host, 5555)
    with pytest.raises(Gone, match="no adb server answers"):
        Server(host, 5037).features("phone")


def test_ports_that_cannot_be() -> None:
    with pytest.raises(Gone, match="cannot be reached"):
        Tcp("127.0.0.1", 10**30)
    assert Server("127.0.0.1", 10**30).devices() is None


@pytest.mark.parametrize("port", ["0", "65536", "99999", "\u0665\u0665"])
def test_a_port_that_cannot_be_is_no_address(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setattr(phones, "listed", list)
    assert not phones.can_be(f"127.0.0.1:{port}")
    assert phones.can_be("127.0.0.1:65535")


def test_a_token_that_is_none(key: Key) -> None:
    for token in (b"", b"short", bytes(21)):
        asked = AdbMessage(b"AUTH", 1, 0, token).pack() + token
        with _talker(asked) as address, pytest.raises(Refused, match="signature of"):
            DirectLink("phone", Tcp(*address), key)


def test_a_device_that_talks_of_something_else(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "STALL_SECONDS", 0.3)
    okays = AdbMessage(b"OKAY", 1, 1).pack() * 1000
    begun = time.monotonic()
    with _talker(okays, again=True) as address, pytest.raises(TimedOut, match="let this host in"):
        DirectLink("phone", Tcp(*address), key)
    assert time.monotonic() - begun < 3


class Spoken:
    """A stream of a device that says the same over and over, for five seconds."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._end = time.monotonic() + 5

    def read(self, timeout_s: float | None = None) -> bytes:
        return self._said if time.monotonic() < self._end else b""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_program_that_writes_nothing_without_end() -> None:
    with pytest.raises(TimedOut, match="did not end within"):
        shell.run(Spoken(shell.packed(Pipe.STDOUT)), "true", b"", 0.3)


@pytest.mark.parametrize("words", ["", "none", "none\n\n", "none\n-5\nx", "none\nmany", "none\n²"])
def test_words_of_a_device_about_what_is_left(tmp_path: Path, words: str) -> None:
    """Whatever it says, a push begins from the start and ends."""

    class Odd(LocalLink):
        def shell(
            self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float
        ) -> ShellResult:
            return ShellResult(0, words.encode(), b"")

        def open_stream(self, destination: str) -> Stream:
            assert destination.endswith(" 0")
            return Spoken(shell.packed(Pipe.EXIT, b"\0"))

    local = tmp_path / "local"
    local.write_bytes(b"content")
    seen: list[tuple[int, int]] = []
    files.push(Odd(), local, "/remote", 0o644, lambda *done: seen.append(done))
    assert seen == [(7, 7), (7, 7)]


def test_answers_that_are_all_there_before_the_opener_looks(
    adbd: tuple[str, int], key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OKAY, WRTE and CLSE of a short program are read before `open` waits for the first."""
    with DirectLink("phone", Tcp(*adbd), key) as link:
        packets = link._mux.packets
        write = packets.write

        def slowly(packet: Packet) -> None:
            write(packet)
            if packet.command == b"OPEN":
                time.sleep(0.2)

        monkeypatch.setattr(packets, "write", slowly)
        assert link.shell(["echo", "hi"], timeout_s=5).stdout == b"hi\n"


def test_a_device_that_does_not_wait_for_okay(adbd: tuple[str, int], key: Key) -> None:
    with DirectLink("phone", Tcp(*adbd), key) as link:
        stream = link.open_stream("shell,v2,raw:cat")
        for _ in range(3):
            stream.arrived(b"flood")
        assert [stream.read(1), stream.read(1)] == [b"flood", b"flood"]
        with pytest.raises(Gone, match="nobody asked for"):
            stream.read(1)


def once(action: Callable[[], None]) -> Callable[[Progress], None]:
    """Call `action` at the first sign of progress."""
    done: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        if not done:
            done.append(progress)
            action()

    return on_progress


@contextlib.contextmanager
def _talker(answer: bytes, again: bool = False) -> Iterator[tuple[str, int]]:
    """A server that says `answer`, maybe `again` and again, to whoever comes first; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(answer)
                    end = time.monotonic() + 5
                    while again and time.monotonic() < end:
                        connection.sendall(answer)
                    while connection.recv(1 << 16):
                        pass

        threading.Thread(target=work, daemon=True).start()
        yield listener.getsockname()
