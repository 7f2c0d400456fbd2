"""Where settings come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapt.config import load_config
from adapt.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without settings, and none in the environment."""
    for name in os.environ:
        if name.startswith(("ADAPT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str, folder: str = ".config") -> None:
    file = home / folder / "adapt" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_defaults(home: Path) -> None:
    config = load_config()
    assert config.home == home / ".local/share/adapt"
    assert config.table_file == home / ".local/share/adapt/tables.db"
    assert config.jobs == Path("adapt-jobs")


def test_folders_of_the_desktop(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "settings"))
    write(home, 'jobs = "/from/settings"', "settings")
    config = load_config()
    assert config.home == Path("/data/adapt")
    assert config.jobs == Path("/from/settings")


def test_the_file(home: Path) -> None:
    write(home, 'home = "/srv/adapt"\ntables = "~/pixel.db"\njobs = "runs"')
    config = load_config()
    assert config.home == Path("/srv/adapt")
    assert config.table_file == home / "pixel.db"
    assert config.jobs == Path("runs")


def test_tables_are_in_home_unless_named(home: Path) -> None:
    write(home, 'home = "/srv/adapt"')
    assert load_config().table_file == Path("/srv/adapt/tables.db")


def test_the_environment_comes_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, 'home = "/srv/adapt"\njobs = "runs"')
    monkeypatch.setenv("ADAPT_HOME", "~/elsewhere")
    monkeypatch.setenv("ADAPT_JOBS", "")  # As good as unset.
    config = load_config()
    assert config.home == home / "elsewhere"
    assert config.jobs == Path("runs")


def test_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPT_SHARED", "/models")
    load_config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('colour = "blue"', "colour: extra inputs are not permitted"),
        ("jobs = 3", "jobs: input is not a valid path"),
        ("jobs = ", "invalid value"),
        ('jobs = "a"\njobs = "b"', "cannot overwrite"),
        ("jobs = 1\nhome = 2", "home: .*; jobs: "),
    ],
)
def test_what_is_not_understood_is_named(home: Path, text: str, words: str) -> None:
    write(home, text)
    with pytest.raises(UsageError, match=f"(?i){words}") as caught:
        load_config()
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.what
    assert "config.toml" in caught.value.todo
