"""A bundle on a device, here this machine's own shell behind the seam of a link."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from adapt.errors import DeviceError
from adapt.fleet.bundle import install, open_bundle
from adapt.fleet.bundle.install import clean
from adapt.fleet.here import LocalLink
from adapt.fleet.link import OnBytes, ShellResult
from tests.fleet.bundle.test_parts import make_bundle


class Counting(LocalLink):
    """Counts what is pushed; `answers` stands in for programs that this machine has otherwise."""

    def __init__(self, answers: dict[str, bytes] | None = None) -> None:
        self.pushes = 0
        self._answers = answers or {}

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        for part, answer in self._answers.items():
            if any(part in word for word in command):
                return ShellResult(0, answer, b"")
        return super().shell(command, stdin=stdin, timeout_s=timeout_s)

    def push(
        self, local: Path, remote: str, *, mode: int = 0o644, on_progress: OnBytes | None = None
    ) -> None:
        self.pushes += 1
        super().push(local, remote, mode=mode, on_progress=on_progress)


def test_it_is_pushed_once_and_starts(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path))
    link = Counting()
    command = install(link, bundle, str(tmp_path))
    assert link.shell([*command, "--listen"], timeout_s=5).stdout == b"started with --listen\n"
    assert install(link, bundle, str(tmp_path)) == command
    assert link.pushes == 1
    assert len(list((tmp_path / "adapt").iterdir())) == 1


def test_what_an_interrupted_unpacking_left_is_no_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path))
    half = tmp_path / "adapt" / f"{bundle.sha256[:16]}.new"
    half.mkdir(parents=True)
    (half / "agent").write_text("exit 1\n")
    command = install(Counting(), bundle, str(tmp_path))
    assert LocalLink().shell(command, timeout_s=5).stdout == b"started with\n"
    assert not half.exists()


def test_a_full_device_is_left_alone(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path))
    # As toybox's df writes it.
    full = b"/dev/block/dm-8 112345678 112335678 10000 100% /data\n"
    link = Counting({"df -k": full})
    with pytest.raises(DeviceError, match="has 9 MiB free"):
        install(link, bundle, str(tmp_path))
    assert link.pushes == 0


def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapt").touch()
    with pytest.raises(DeviceError, match=r"lets nobody make the folder .*adapt"):
        install(Counting(), open_bundle(make_bundle(tmp_path / "made")), str(tmp_path))


def test_clean_leaves_nothing(tmp_path: Path) -> None:
    install(Counting(), open_bundle(make_bundle(tmp_path / "made")), str(tmp_path))
    clean(LocalLink(), str(tmp_path))
    assert not (tmp_path / "adapt").exists()
    clean(LocalLink(), str(tmp_path))
