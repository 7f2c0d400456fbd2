"""Devices as users ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapt.errors import UsageError
from adapt.fleet.choice import DeviceChoice, parse_choices

COMMON: dict[str, Any] = {"threads": 3, "cores": "all"}


def test_nothing_said_is_this_machine() -> None:
    assert parse_choices(["local"], {}) == [DeviceChoice()]


def test_what_a_text_says_goes_before_what_holds_for_all() -> None:
    text = "pixel-6,threads=4,backend=builtin,core-mask=0xf0,agent-python=/opt/python"
    (choice,) = parse_choices([text], COMMON)
    assert choice == DeviceChoice(
        text=text,
        name="pixel-6",
        label="pixel-6",
        backend="builtin",
        threads=4,
        cores="all",
        core_mask=0xF0,
        agent_python=Path("/opt/python"),
    )
    assert choice.said == {"threads", "backend", "core_mask", "agent_python"}


def test_a_profile_is_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (choice,) = parse_choices(["simulated:slow.toml,threads=2"], COMMON)
    assert choice.name == f"simulated:{tmp_path}/slow.toml"
    assert choice.label == "simulated:slow.toml"


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["pi,threads=2"], ["pi"]),
        (["local", "pi,threads=2"], ["local", "pi"]),
        (["local", "local,threads=2"], ["local", "local,threads=2"]),
        (["local,label=one", "local,threads=2,label=two"], ["one", "two"]),
        (["tcp:10.0.0.2:7000", "eyeriss"], ["tcp:10.0.0.2:7000", "eyeriss"]),
    ],
)
def test_what_devices_are_called(texts: list[str], labels: list[str]) -> None:
    assert [choice.label for choice in parse_choices(texts, {})] == labels


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["local", "local"], "2 devices are called local"),
        (["local,label=a", "pi,label=a"], "2 devices are called a"),
        (["local,speed=3"], "'speed=3' is not understood"),
        (["local,threads"], "'threads' is not understood"),
        (["local,threads="], "'threads=' is not understood"),
        (["local,threads=1,threads=2"], "'threads=2' is not understood"),
        (["local,threads=two"], "--device local,threads=two: threads two: .*integer"),
        (["local,threads=65"], "threads 65: .*less than or equal to 64"),
        (["local,backend=gpu"], "backend gpu: .*'xnnpack'"),
        (["local,core-mask=all"], "not a core mask: 'all'"),
        (["local,core-mask=-1"], "core-mask -1: .*greater"),
        ([",threads=2"], "no name"),
        (["local,label=a b"], "'a b' cannot be a label"),
        (["local,label=a@b"], "'a@b' cannot be a label"),
        ([f"d{number}" for number in range(17)], "17 devices"),
    ],
)
def test_what_is_not_understood(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_choices(texts, {})
    assert caught.value.todo


def test_options_that_hold_for_all_are_called_as_they_are() -> None:
    with pytest.raises(UsageError, match=r"^--threads 65: "):
        parse_choices(["local"], {"threads": 65})
