"""What only USB has; in a machine whose USB has adbd on it (tests/fleet/vm)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapt.fleet import phones
from adapt.fleet.adb.usb import Usb, usb_serials
from adapt.fleet.link import Gone, Link, LinkError, Refused, TimedOut
from tests.fleet.adb import lab

SERIAL = os.environ.get("ADAPT_USB", "")
pytestmark = pytest.mark.skipif(not SERIAL, reason="no machine with adbd on its USB")
# A gadget is unplugged by giving it no controller; the machine's init gives it one again unless
# this file is there.
SOCKET = Path("/sys/kernel/config/usb_gadget/adb/UDC")
PULLED = Path("/dev/shm/pulled")
# Nothing that a link does lasts longer than this.
BOUND_SECONDS = 15


@pytest.fixture
def link(open_usb: Callable[..., Link]) -> Iterator[Link]:
    """A link to the device."""
    with open_usb() as opened:
        yield opened


class Cable:
    """The one between the device and this machine."""

    def pull(self) -> None:
        """The gadget lets go of its controller, and is kept from taking it again."""
        PULLED.touch()
        SOCKET.write_text("\n")

    def plug(self) -> None:
        """Have it back."""
        PULLED.unlink(missing_ok=True)
        lab.until(lambda: usb_serials() == [SERIAL], BOUND_SECONDS)


@pytest.fixture
def cable() -> Iterator[Cable]:
    """The cable, plugged in before and after."""
    made = Cable()
    yield made
    made.plug()


def test_it_is_listed() -> None:
    assert usb_serials() == [SERIAL]
    assert phones.can_be(SERIAL)


def test_one_that_is_not_there() -> None:
    with pytest.raises(Gone, match="no device other is plugged in"):
        Usb("other")


def test_a_second_program_is_refused(link: Link) -> None:
    code = f"from adapt.fleet.adb.usb import Usb; Usb({SERIAL!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "held by another program" in done.stderr
    assert link.shell(["echo", "hi"], timeout_s=10).stdout == b"hi\n"


def test_output_left_on_the_way_does_not_spoil_the_next_link(
    open_usb: Callable[..., Link],
) -> None:
    for _ in range(3):
        with open_usb() as link:
            stream = link.open_stream("shell,v2,raw:cat /dev/zero")
            assert stream.read(10)
    with open_usb() as link:
        assert link.shell(["echo", "hi"], timeout_s=10).stdout == b"hi\n"


def test_a_host_that_was_killed_in_the_middle_of_a_packet(open_usb: Callable[..., Link]) -> None:
    code = (
        "import os, signal; from adapt.fleet.adb.usb import Usb\n"
        f"Usb({SERIAL!r})._send(bytes.fromhex("
        "'434e584e 01000001 00001000 00010000 00000000 bcb1a7b1')); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -9
    begun = time.monotonic()
    with open_usb() as link:
        assert link.shell(["echo", "hi"], timeout_s=10).stdout == b"hi\n"
    assert time.monotonic() - begun < BOUND_SECONDS


@pytest.mark.parametrize("size", [511, 512, 513, 1024, 4096, 16384, 65536])
def test_whole_packets(link: Link, size: int) -> None:
    """Transfers that end with a full packet of the bus."""
    data = os.urandom(size)
    assert link.shell(["cat"], stdin=data, timeout_s=10).stdout == data


def test_a_pulled_cable(link: Link, cable: Cable) -> None:
    stream = link.open_stream("shell,v2,raw:cat")
    cable.pull()
    begun = time.monotonic()
    with pytest.raises(Gone) as broken:
        stream.read()
    assert "Error" not in broken.value.what
    with pytest.raises(LinkError):
        link.shell(["true"], timeout_s=10)
    link.close()
    assert time.monotonic() - begun < BOUND_SECONDS


def test_a_cable_that_is_back(open_usb: Callable[..., Link], cable: Cable) -> None:
    with open_usb() as link:
        cable.pull()
        with pytest.raises((Gone, TimedOut)):
            link.shell(["true"], timeout_s=10)
    with pytest.raises(Gone):
        open_usb()
    cable.plug()
    with open_usb() as link:
        assert link.shell(["echo", "hi"], timeout_s=10).stdout == b"hi\n"


def test_a_running_server_is_used(adb_on_usb: Any, tmp_path: Path) -> None:
    lab.until(lambda: f"{SERIAL}\tdevice" in adb_on_usb("devices").stdout, 30)
    with pytest.raises(Refused, match="held by another program"):
        Usb(SERIAL)
    found = adapt(tmp_path, "devices", "--json", server=adb_on_usb.port)
    assert {"device": SERIAL, "state": "ready"}.items() <= {
        key: value for row in found if row["device"] == SERIAL for key, value in row.items()
    }.items()


@pytest.fixture
def adb_on_usb(tmp_path: Path) -> Iterator[Any]:
    """Google's adb server, which takes every device on USB."""
    with lab.adb_server(tmp_path, usb=True) as run:
        yield run


def test_the_doctor_comes_over_usb(tmp_path: Path) -> None:
    found = adapt(tmp_path, "doctor", "--device", SERIAL, "--agent-python", sys.executable)
    assert [f for f in found if f["verdict"] == "fail" and f["check"] != "execution"] == []
    assert {"link", "shell"} & {f["check"] for f in found}


def adapt(home: Path, *arguments: str, server: int = 1) -> Any:
    """What a command prints with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "adapt", *arguments, "--json"],
        env={**os.environ, "ADAPT_HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(server)},
        capture_output=True,
        text=True,
    )
    assert done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout)
