"""A device with Google's adbd, and links to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapt.fleet.adb.direct import DirectLink
from adapt.fleet.adb.keys import Key, own_key
from adapt.fleet.adb.server import Server, ServerLink
from adapt.fleet.adb.transport import Tcp
from adapt.fleet.link import Link
from adapt.fleet.phones import over_usb
from tests.fleet.adb import lab

# The serial number of a device on USB that is there to be tested with.
USB = os.environ.get("ADAPT_USB", "")


@pytest.fixture(scope="session")
def namespace() -> Iterator[lab.Namespace]:
    """Where the device is."""
    lab.programs()
    made = lab.Namespace()
    yield made
    made.close()


@pytest.fixture(scope="session")
def adbd(
    namespace: lab.Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """The address of an adbd that lets everybody in."""
    with lab.adbd(namespace, tmp_path_factory.mktemp("adbd") / "log") as address:
        yield address


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    """This host's."""
    return own_key(tmp_path_factory.mktemp("key") / "adb")


@pytest.fixture(scope="session")
def adb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Google's client, with a server of its own."""
    with lab.adb_server(tmp_path_factory.mktemp("server")) as run:
        yield run


@pytest.fixture(scope="session")
def open_direct(adbd: tuple[str, int], key: Key) -> Callable[..., Link]:
    """Opens a link to adbd itself, or what stands before it."""

    def open_link(address: tuple[str, int] = adbd) -> Link:
        return DirectLink("phone", Tcp(*address), key)

    return open_link


@pytest.fixture(scope="session")
def open_through_server(adbd: tuple[str, int], adb: Any) -> Callable[..., Link]:
    """Opens a link through an adb server."""

    def open_link(address: tuple[str, int] = adbd) -> Link:
        serial = "{}:{}".format(*address)
        if address != adbd:
            # The server may not have noticed yet that the link broke.
            adb("disconnect", serial)
        adb("connect", serial)
        return ServerLink(serial, Server("127.0.0.1", adb.port))

    return open_link


@pytest.fixture(scope="session")
def open_usb(key: Key) -> Callable[..., Link]:
    """Opens a link over USB, where there is a device on it."""
    return lambda: over_usb(USB, key)


@pytest.fixture(params=["direct", "server", *(["usb"] if USB else [])])
def open_any(request: pytest.FixtureRequest) -> Callable[..., Link]:
    """Opens a link of any kind."""
    names = {"direct": "open_direct", "server": "open_through_server", "usb": "open_usb"}
    name = names[request.param]
    opener: Callable[..., Link] = request.getfixturevalue(name)
    return opener


@pytest.fixture
def link(open_any: Callable[..., Link]) -> Iterator[Link]:
    """A link of either kind to adbd."""
    with open_any() as opened:
        yield opened


@pytest.fixture
def proxy(adbd: tuple[str, int]) -> Iterator[lab.Proxy]:
    """What spoils a connection to adbd."""
    made = lab.Proxy(adbd)
    yield made
    made.close()


@pytest.fixture(params=["direct", "server"])
def spoilt(request: pytest.FixtureRequest, proxy: lab.Proxy) -> Iterator[Callable[[], Link]]:
    """Opens a link of either kind that leads through `proxy`."""
    name = {"direct": "open_direct", "server": "open_through_server"}[request.param]
    opener = request.getfixturevalue(name)
    yield lambda: opener(proxy.address)
    if request.param == "server":
        request.getfixturevalue("adb")("disconnect", "{}:{}".format(*proxy.address))


@pytest.fixture
def content(tmp_path: Path) -> Path:
    """A file of 1 MiB."""
    path = tmp_path / "content"
    path.write_bytes(bytes(range(256)) * 4096)
    return path
