"""Programs of this machine: their pipes, their bounds, and that nothing of them is left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from adapt.fleet import here
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Refused, TimedOut
from tests.fleet.adb.lab import until


def test_three_pipes_and_an_exit_status() -> None:
    link, much = LocalLink(), os.urandom(1 << 20)
    done = link.shell(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=much, timeout_s=20)
    assert (done.exit_code, done.stdout, done.stderr) == (3, much, b"no\n")
    assert link.shell(["true"], stdin=much, timeout_s=20).exit_code == 0
    assert link.shell(["sh", "-c", "kill -9 $$"], timeout_s=20).exit_code == 137
    assert link.shell(["/absent"], timeout_s=20).exit_code == 127


def test_nothing_is_left_of_a_program_that_does_not_end(tmp_path: Path) -> None:
    script = 'sleep 30 & echo $! > "$1"; wait'
    begun = time.monotonic()
    with pytest.raises(TimedOut, match="did not end in"):
        LocalLink().shell(["sh", "-c", script, "sh", str(tmp_path / "child")], timeout_s=2)
    assert time.monotonic() - begun < 10
    child = int((tmp_path / "child").read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie")


def test_output_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(Refused, match="wrote more than 1048576 bytes"):
        LocalLink().shell(["cat", "/dev/zero"], timeout_s=10)
