"""Boards on the network: TLS on both sides, a token, and refusals."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.errors import DeviceError, InputError, UsageError
from adapt.fleet.boards import boards, enroll
from adapt.fleet.claim import claimed
from adapt.fleet.client import AgentClient
from adapt.fleet.link import Gone
from device_agent import launcher
from tests.fleet.agents import free_port, serving


@contextmanager
def board_agent(folder: Path, port: int) -> Iterator[None]:
    """An agent as a board runs it."""
    arguments = ("--tls", str(folder), "--token-file", str(folder / "token"))
    with serving("--listen", f"0.0.0.0:{port}", *arguments):
        yield


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Enrolls a board called pi, and starts its agent; the port."""
    with ExitStack() as stack:

        def begin() -> int:
            port = free_port()
            enroll(tmp_path / "home", "pi", f"127.0.0.1:{port}", tmp_path / "pi-agent")
            stack.enter_context(board_agent(tmp_path / "pi-agent", port))
            return port

        yield begin


def test_by_name_and_by_address(start: Callable[[], int], tmp_path: Path) -> None:
    port = start()
    for name in ("pi", f"tcp:127.0.0.1:{port}"):
        with claimed(name, home=tmp_path / "home") as device:
            assert device.name == "pi"
            assert device.describe().identity.runtime


def test_a_host_with_no_certificate(start: Callable[[], int], tmp_path: Path) -> None:
    target = f"127.0.0.1:{start()}"
    token = (tmp_path / "home/devices/pi/token").read_text().strip()
    authority = (tmp_path / "home/devices/pi/ca.pem").read_bytes()
    for credentials in (None, grpc.ssl_channel_credentials(authority)):
        client = AgentClient("pi", target, token, credentials=credentials)
        with pytest.raises(Gone):
            client.describe()
        client.close()


def test_certificates_of_another_enrolment(start: Callable[[], int], tmp_path: Path) -> None:
    port = start()
    board = enroll(tmp_path / "other", "pi", f"127.0.0.1:{port}", tmp_path / "other-agent")
    client = board.connect()
    with pytest.raises(Gone):
        client.describe()
    client.close()


def test_another_token(start: Callable[[], int], tmp_path: Path) -> None:
    start()
    (tmp_path / "home/devices/pi/token").write_text("0" * 64)
    (board,) = boards(tmp_path / "home")
    client = board.connect()
    with pytest.raises(DeviceError, match="does not accept this host's token"):
        client.describe()
    client.close()


@pytest.mark.parametrize(
    ("spoil", "mention"),
    [
        (lambda folder: ["--token-file", str(folder / "token")], "give --tls with the folder"),
        (lambda folder: ["--tls", str(folder)], "--token-stdin --token-file is required"),
        (
            lambda folder: _tls(folder, lambda: (folder / "agent.key").chmod(0o644)),
            "others can use",
        ),
        (lambda folder: _tls(folder, (folder / "ca.pem").unlink), "ca.pem: No such file"),
        (
            lambda folder: _tls(
                folder, lambda: shutil.copy(folder / "ca.pem", folder / "agent.pem")
            ),
            "cannot serve",
        ),
    ],
)
def test_what_the_agent_refuses(
    tmp_path: Path, spoil: Callable[[Path], list[str]], mention: str
) -> None:
    folder = tmp_path / "agent"
    enroll(tmp_path / "home", "pi", "127.0.0.1:7070", folder)
    command = launcher.command("device_agent", "--listen", "0.0.0.0:0", *spoil(folder))
    done = subprocess.run(
        [sys.executable, *command[1:]],
        env=launcher.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (1, 2)
    assert mention in done.stderr
    assert "Traceback" not in done.stderr


def _tls(folder: Path, spoil: Callable[[], object]) -> list[str]:
    spoil()
    return ["--tls", str(folder), "--token-file", str(folder / "token")]


def test_secrets_stay_secret(tmp_path: Path) -> None:
    board = enroll(tmp_path / "home", "pi", "board.example:7070", tmp_path / "agent")
    for folder in (board.folder, tmp_path / "agent"):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    first = (board.folder / "token").read_text()
    assert re.fullmatch("[0-9a-f]{64}\n", first)
    # Nobody keeps the authority's key.
    assert not list(tmp_path.rglob("ca.key"))
    enroll(tmp_path / "home", "pi", "board.example:7071", tmp_path / "agent2")
    assert [b.address for b in boards(tmp_path / "home")] == ["board.example:7071"]
    assert (board.folder / "token").read_text() != first


@pytest.mark.parametrize("name", ["", "../pi", "a b", "-x", "x" * 65])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        enroll(tmp_path, name, "h:1", tmp_path / "agent")


@pytest.mark.parametrize(("name", "why"), [("local", "this machine"), ("eyeriss", "of a chip")])
def test_names_that_mean_something_else(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"the name {name} is taken: .*{why}"):
        enroll(tmp_path, name, "h:1", tmp_path / "agent")


@pytest.mark.parametrize("address", ["", "h", "h:0", "h:65536", "h:x", "h h:1", "h/x:1"])
def test_addresses_that_cannot_be(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        enroll(tmp_path, "pi", address, tmp_path / "agent")


def test_damaged_enrolments(tmp_path: Path) -> None:
    board = enroll(tmp_path / "home", "pi", "h:1", tmp_path / "agent")
    (board.folder / "host.key").unlink()
    with pytest.raises(InputError, match=r"host\.key"):
        board.connect()
    (board.folder / "board.json").write_text("[]")
    with pytest.raises(InputError, match="damaged"):
        boards(tmp_path / "home")


def test_as_a_user_types_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # No adb server of whoever runs the tests.
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    runner = CliRunner(env={"ADAPT_HOME": str(tmp_path / "home")})

    def run(*arguments: str, code: int = 0) -> str:
        result = runner.invoke(main, ["devices", *arguments], prog_name="adapt")
        assert result.exit_code == code, result.output
        return result.output

    said = run("enroll", "pi", "board.example:7070")
    assert "device-agent --listen 0.0.0.0:7070 --tls pi-agent --token-file pi-agent/token" in said
    assert "exists already" in run("enroll", "pi", "board.example:7070", code=5)
    assert "not an address" in run("enroll", "pi", "nowhere", code=2)
    lines = [line.split() for line in run().splitlines()]
    assert ["pi", "board", "enrolled", "board.example:7070"] in lines
    assert any(line[0] == "local" for line in lines)
    assert '"device": "pi"' in run("--json")
