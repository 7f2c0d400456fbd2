"""Where the agent may listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.address import Address, AddressError


@pytest.mark.parametrize("text", ["127.0.0.1:0", "127.0.0.1:43121", "127.9.9.9:1", "[::1]:80"])
def test_loopback_is_accepted(text: str) -> None:
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:0",
        "[::]:0",
        "192.168.1.5:80",
        "8.8.8.8:1",
        "[fe80::1]:9",
        "[::ffff:8.8.8.8]:80",
        "localhost:80",
        "80",
        "example.org:80",
        ":80",
        "127.0.0.1",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "1.2.3:80",
        "unix:",
        "tcp://127.0.0.1:1",
        "unix-abstract:",
        "unix-abstract:a/b",
        "unix-abstract:" + "x" * 101,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_with_tls_every_address_is_accepted() -> None:
    assert str(Address.parse("0.0.0.0:7070", tls=True)) == "0.0.0.0:7070"
    with pytest.raises(AddressError, match="give --tls"):
        Address.parse("0.0.0.0:7070")


def test_an_abstract_socket() -> None:
    address = Address.parse("unix-abstract:adapt-0f")
    assert str(address) == str(address.bound(1)) == "unix-abstract:adapt-0f"


def test_a_socket_in_a_private_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    address = Address.parse(f"unix:{tmp_path}/socket")
    assert str(address.bound(1)) == f"unix:{tmp_path}/socket"


@pytest.mark.parametrize(
    ("mode", "accepted"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)]
)
def test_a_folder_that_others_can_write_to(tmp_path: Path, mode: int, accepted: bool) -> None:
    tmp_path.chmod(mode)
    if accepted:
        Address.parse(f"unix:{tmp_path}/socket")
    else:
        with pytest.raises(AddressError, match="chmod go-w"):
            Address.parse(f"unix:{tmp_path}/socket")


def test_paths_that_cannot_be_sockets(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "file").write_text("keep me")
    for path in ("file", "x" * 120, "missing/socket"):
        with pytest.raises(AddressError):
            Address.parse(f"unix:{tmp_path}/{path}")
    assert (tmp_path / "file").read_text() == "keep me"


def test_the_bound_port_is_told() -> None:
    assert str(Address.parse("127.0.0.1:0").bound(43121)) == "127.0.0.1:43121"
