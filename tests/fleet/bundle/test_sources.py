"""Which package sources a bundle is made from, by what apt says that the machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt.errors import InputError
from adapt.fleet.bundle.sources import Apt

# As apt-get indextargets prints them, with documentation's host names.
DEBIAN = ["http://deb.example/debian/ main amd64 Debian"]
UBUNTU = [
    "http://security.example/ubuntu/ main amd64 Ubuntu",
    "http://archive.example/ubuntu/ universe amd64 Ubuntu",
    "http://archive.example/ubuntu/ main amd64 Ubuntu",
]
PORTS = ["http://ports.example/ubuntu-ports/ main arm64 Ubuntu"]
BOTH = ["arm64", "amd64"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose apt has the sources in `targets`, and leaves what it is asked in `asked`."""
    apt = tmp_path / "apt-get"
    apt.write_text(
        f"""#!/bin/sh
case "$1" in
indextargets) cat {tmp_path}/targets ;;
update)
    cat "$(sed -n 's/^Dir::Etc::SourceList "\\(.*\\)";$/\\1/p' "$APT_CONFIG")" > {tmp_path}/asked
    [ ! -e {tmp_path}/fails ] || {{ echo "E: no Release file" >&2; exit 100; }}
    ;;
esac
"""
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def asked(machine: Path, targets: list[str]) -> list[str]:
    """Architecture, address and release of each source that is asked."""
    (machine / "targets").write_text("".join(f"{line}\n" for line in targets))
    with Apt("stable", BOTH):
        lines = (machine / "asked").read_text().replace("]", "").splitlines()
    assert all(line.startswith("deb [arch=") and line.endswith(" main") for line in lines)
    return [f"{words[1][6:]} {words[-3]} {words[-2]}" for words in map(str.split, lines)]


def test_mirrors_of_debian_have_everything(machine: Path) -> None:
    for targets in (DEBIAN, ["http://deb.example/debian/ main amd64 "]):
        assert asked(machine, targets) == [
            "arm64 http://deb.example/debian/ stable",
            "amd64 http://deb.example/debian/ stable",
        ]


def test_each_architecture_has_a_mirror_of_its_own(machine: Path) -> None:
    assert asked(machine, UBUNTU + PORTS) == [
        "arm64 http://ports.example/ubuntu-ports/ stable",
        "amd64 http://archive.example/ubuntu/ stable",
    ]
    assert "signed-by" not in (machine / "asked").read_text()


def test_an_architecture_that_no_source_has(machine: Path) -> None:
    with pytest.raises(InputError, match="Ubuntu's, and none of them has packages for arm64") as e:
        asked(machine, UBUNTU)
    assert "--add-architecture arm64" in e.value.todo
    assert "--from FILE" in e.value.todo


def test_a_release_of_another_distribution(machine: Path) -> None:
    (machine / "fails").touch()
    with pytest.raises(InputError, match="Ubuntu's, which do not give the release"):
        asked(machine, UBUNTU + PORTS)
    with pytest.raises(InputError, match=r"^apt-get failed: E: no Release file"):
        asked(machine, DEBIAN)


def test_no_sources(machine: Path) -> None:
    with pytest.raises(InputError, match="no source of packages"):
        asked(machine, UBUNTU[:2])
