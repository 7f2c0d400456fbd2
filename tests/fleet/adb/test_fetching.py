"""The script that fetches adbd replaces nothing but what it has put there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools/fetch_adbd.sh"


def fetch(folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Run the script where apt fails: what it needs besides is in `programs`."""
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text("#!/bin/sh\nexit 1\n")
    apt.chmod(0o755)
    return subprocess.run(
        ["sh", str(SCRIPT), str(folder)],
        env={"PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["precious/thing", "precious/.hidden"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    thing = tmp_path / name
    thing.parent.mkdir()
    thing.write_text("precious")
    for folder in (thing.parent, thing):
        done = fetch(folder, tmp_path / f"programs-{folder.name}")
        assert done.returncode == 1
        assert f"{folder} is something else" in done.stderr
    assert thing.read_text() == "precious"


@pytest.mark.parametrize("there", ["absent", "empty", "fetched"])
def test_its_own_folder_is_taken(tmp_path: Path, there: str) -> None:
    folder = tmp_path / "adbd"
    if there != "absent":
        folder.mkdir()
    if there == "fetched":
        adbd = folder / "usr/lib/android-sdk/platform-tools/adbd"
        adbd.parent.mkdir(parents=True)
        adbd.touch()
    done = fetch(folder, tmp_path / "programs")
    assert "apt has no package source" in done.stderr
