"""The doctor on this machine, on links that fail, and on the command line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.errors import DeviceError
from adapt.fleet.doctor import Verdict, diagnose, examine
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Gone, Link, ShellResult, Unauthorised
from adapt.fleet.local import LocalDevice
from adapt.locks import locked
from tests.fleet.doctor.phone import script_output


def test_this_machine_can_measure(tmp_path: Path) -> None:
    found = {finding.check: finding for finding in diagnose("local", tmp_path)}
    assert {"link", "system", "execution", "cores", "agent", "kernel"} <= set(found)
    assert not [finding for finding in found.values() if finding.verdict is Verdict.FAIL]
    assert "started in" in found["agent"].seen
    assert "us for a small convolution" in found["kernel"].seen


def test_a_folder_that_others_can_guess_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody has laid where temporary files are is neither written nor started."""
    trap = tmp_path / "adapt/execute"
    trap.parent.mkdir()
    trap.write_text("#!/bin/sh\necho trapped\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = {finding.check: finding for finding in diagnose("local", tmp_path / "home")}
    assert found["execution"].verdict is Verdict.PASS
    assert trap.read_text() == "#!/bin/sh\necho trapped\n"
    assert not list(tmp_path.glob("adapt-doctor-*"))


def test_a_prompt_that_waits_is_the_first_line(tmp_path: Path) -> None:
    def refused() -> Link:
        raise Unauthorised("the phone asks its user", "accept the prompt on the phone")

    (only,) = examine(refused, lambda link: LocalDevice(), str(tmp_path))
    assert (only.check, only.verdict) == ("authorisation", Verdict.FAIL)
    assert "accept the prompt" in only.todo


class Lost(LocalLink):
    """A device that goes when it is asked something."""

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        raise Gone("the cable was pulled", "plug it in")


def test_a_device_that_goes_ends_the_list(tmp_path: Path) -> None:
    *_, last = examine(Lost, lambda link: LocalDevice(), str(tmp_path))
    assert (last.check, last.verdict, last.todo) == ("shell", Verdict.FAIL, "plug it in")


class Noexec(LocalLink):
    """A device that answers as a phone does on which no program starts."""

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        return ShellResult(0, script_output(execute="").encode(), b"")


def test_nothing_is_started_where_nothing_can_start(tmp_path: Path) -> None:
    def start(link: Link) -> LocalDevice:
        raise AssertionError("the agent was started")

    found = list(examine(Noexec, start, str(tmp_path)))
    assert [f.check for f in found if f.verdict is Verdict.FAIL] == ["execution"]


def test_an_agent_that_does_not_start_is_a_line(tmp_path: Path) -> None:
    def start(link: Link) -> LocalDevice:
        return LocalDevice(tmp_path / "python")

    *_, last = examine(LocalLink, start, str(tmp_path))
    assert (last.check, last.verdict) == ("agent", Verdict.FAIL)
    assert "cannot be started" in last.seen


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    environment = {"ADAPT_HOME": str(tmp_path)}
    done = CliRunner().invoke(main, ["doctor", "--json"], env=environment)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"check", "verdict", "seen", "todo"} == set(found[0])
    failed = CliRunner().invoke(
        main, ["doctor", "--agent-python", str(tmp_path / "none")], env=environment
    )
    assert failed.exit_code == DeviceError.exit_code
    assert "local cannot measure yet: agent" in failed.output
    assert "fail  agent" in failed.output


def test_a_device_without_a_shell_is_asked_by_its_agent(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text("")
    found = list(diagnose(f"simulated:{profile}", tmp_path))
    assert [finding.check for finding in found] == ["agent", "kernel"]


@pytest.mark.parametrize("command", [["doctor"], ["devices", "clean"]])
def test_a_name_that_is_no_device(command: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, [*command, "--device", "pixel"], env={"ADAPT_HOME": str(tmp_path)}
    )
    assert done.exit_code == 2
    assert "no device 'pixel'" in done.output


def test_a_device_in_use_is_left_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "locks/local.lock", "the device local"):
        done = CliRunner().invoke(main, ["doctor"], env={"ADAPT_HOME": str(tmp_path)})
    assert done.exit_code == 75
    assert "in use by process" in done.output
