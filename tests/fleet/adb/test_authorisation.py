"""Keys: adbd behind the front that asks for them, Google's client beside ours."""

from __future__ import annotations

import itertools
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapt.errors import DeviceError
from adapt.fleet import phones
from adapt.fleet.adb.direct import DirectLink
from adapt.fleet.adb.keys import Key, own_key
from adapt.fleet.adb.server import Listed, Server, ServerLink
from adapt.fleet.adb.transport import Tcp
from adapt.fleet.link import Refused, Unauthorised
from tests.fleet.adb import lab

_ports = itertools.count(7600)


@pytest.fixture
def asking(
    namespace: lab.Namespace, adbd: Any, tmp_path: Path
) -> Iterator[Callable[[str], tuple[str, int]]]:
    """Starts an adbd that asks for keys; "keys" in `tmp_path` are those that it knows."""
    keys = tmp_path / "keys"
    keys.touch()
    with ExitStack() as stack:

        def start(mode: str) -> tuple[str, int]:
            log = tmp_path / "front.log"
            return stack.enter_context(lab.front(namespace, next(_ports), mode, keys, log))

        yield start


def test_a_prompt_that_is_accepted_and_a_key_that_is_known_then(
    asking: Callable[[str], tuple[str, int]], key: Key, tmp_path: Path
) -> None:
    address = asking("accept")
    prompts: list[int] = []
    for _ in range(2):
        transport = Tcp(*address)
        with DirectLink("phone", transport, key, on_prompt=lambda: prompts.append(1)) as link:
            assert link.shell(["echo", "hi"], timeout_s=5).stdout == b"hi\n"
    assert len(prompts) == 1
    assert (tmp_path / "keys").read_text().count("\n") == 1


@pytest.mark.parametrize(("mode", "seconds"), [("ignore", 0.5), ("deny", 30.0)])
def test_a_prompt_that_is_not_accepted(
    asking: Callable[[str], tuple[str, int]], key: Key, mode: str, seconds: float
) -> None:
    address = asking(mode)
    with pytest.raises(Unauthorised, match="does not accept this host's key") as caught:
        DirectLink("phone", Tcp(*address), key, prompt_seconds=seconds)
    assert "accept the prompt" in caught.value.todo


def test_googles_client_and_its_server(
    asking: Callable[[str], tuple[str, int]], adb: Any, tmp_path: Path
) -> None:
    known, stranger = ("{}:{}".format(*asking(mode)) for mode in ("accept", "ignore"))
    server = Server("127.0.0.1", adb.port)
    # Before the first learns the key: the two share their list.
    adb("connect", stranger)
    lab.until(lambda: Listed(stranger, "unauthorized", "") in (server.devices() or []))
    with pytest.raises(Unauthorised, match="does not accept the adb server's key"):
        ServerLink(stranger, server)
    adb("connect", known)
    lab.until(lambda: Listed(known, "device", "") in (server.devices() or []))
    assert adb("-s", known, "shell", "exit 7").returncode == 7
    for size in (1 << 10, 1 << 20, 50 << 20):
        (tmp_path / "local").write_bytes(bytes(size))
        assert adb("-s", known, "push", tmp_path / "local", tmp_path / "remote").returncode == 0
        assert (tmp_path / "remote").stat().st_size == size
    with ServerLink(known, server) as link:
        assert link.shell(["true"], timeout_s=5).exit_code == 0
    for serial in (known, stranger):
        adb("disconnect", serial)


def test_the_link_that_fits_is_chosen(
    adbd: tuple[str, int],
    asking: Callable[[str], tuple[str, int]],
    adb: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serial = "{}:{}".format(*asking("accept"))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    with phones.open_link(serial, tmp_path) as link:
        assert isinstance(link, DirectLink)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(adb.port))
    with phones.open_link(serial, tmp_path) as link:
        assert isinstance(link, DirectLink)
    adb("connect", serial)
    lab.until(lambda: Listed(serial, "device", "") in phones.listed())
    with phones.open_link(serial, tmp_path) as link:
        assert isinstance(link, ServerLink)
    adb("disconnect", serial)


def test_nobody_listens(namespace: lab.Namespace) -> None:
    with pytest.raises(Refused, match="nobody answers"):
        Tcp(namespace.device, 7999)


def test_the_key_is_the_hosts_own_secret(tmp_path: Path) -> None:
    folder = tmp_path / "home/adb"
    threads = [threading.Thread(target=own_key, args=(folder,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {p.name for p in folder.parent.iterdir()} == {"adb"}
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    before = own_key(folder).GetPublicKey()
    assert own_key(folder).GetPublicKey() == before
    (folder / "key").chmod(0o644)
    with pytest.raises(DeviceError, match=r"others can read the key .*key"):
        own_key(folder)
    (folder / "key").chmod(0o600)
    (folder / "key").write_text("nonsense")
    with pytest.raises(DeviceError, match="cannot be used"):
        own_key(folder)
