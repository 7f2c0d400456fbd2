"""Which platforms a device is, and which it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapt.fleet.device import Description
from adapt.refresh.lineage import Present, find_present
from lookup_tables import Platform, TableCounts
from lookup_tables.survey import Summary


def summary(platform: Platform, oldest: float | None, newest: float | None) -> Summary:
    return Summary(platform, TableCounts(1, 1, 0, 0, 1), oldest, newest, 0.002, 0, {})


@pytest.fixture
def description(device: Any) -> Description:
    found: Description = device.describe()
    return found


def updated(platform: Platform, number: int) -> Platform:
    return replace(platform, runtime_build=f"{number:04x}", os_build=f"build {number}")


def test_a_device_that_is_what_it_was(description: Description, platform: Platform) -> None:
    builtin = replace(platform, backend="builtin")
    known = [summary(platform, 1.0, 2.0), summary(builtin, 3.0, 4.0)]
    assert find_present(known, description) == ([Present(platform), Present(builtin)], [])


def test_other_devices_are_somebody_elses(description: Description, platform: Platform) -> None:
    others = [replace(platform, soc="other"), replace(platform, device_model="other")]
    assert find_present([summary(p, 1.0, 2.0) for p in others], description) == ([], [])
    assert find_present([], description) == ([], [])


def test_an_updated_device_succeeds_what_it_was_last(
    description: Description, platform: Platform
) -> None:
    first, second = updated(platform, 1), updated(platform, 2)
    known = [summary(second, 5.0, 9.0), summary(first, 1.0, 4.0)]
    assert find_present(known, description)[0] == [Present(platform, second)]
    known.append(summary(platform, 10.0, 20.0))
    assert find_present(known, description)[0] == [Present(platform, second)]
    known.append(summary(replace(second, backend="builtin"), 1.0, 2.0))
    builtin = Present(replace(platform, backend="builtin"), replace(second, backend="builtin"))
    assert find_present(known, description)[0] == [Present(platform, second), builtin]


def test_builds_used_in_turns_do_not_succeed_each_other(
    description: Description, platform: Platform
) -> None:
    known = [summary(platform, 1.0, 5.0), summary(updated(platform, 1), 2.0, 9.0)]
    assert find_present(known, description)[0] == [Present(platform)]


def test_what_others_measured_is_no_past_of_this_device(
    description: Description, platform: Platform
) -> None:
    imported = summary(updated(platform, 1), None, None)
    assert find_present([imported], description) == ([], [])
    assert find_present([summary(platform, None, None), imported], description)[0] == [
        Present(platform)
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"runtime": "tflite-runtime"}, "its agent runs ai-edge-litert"),
        ({"backend": "gpu"}, "no backend gpu"),
        ({"threads": 4}, "at most 1 threads"),
        ({"core_mask": 0b110}, "the cores 0x1"),
    ],
)
def test_what_the_device_cannot_be_is_named(
    description: Description, platform: Platform, change: dict[str, Any], why: str
) -> None:
    present, (lost,) = find_present([summary(replace(platform, **change), 1.0, 2.0)], description)
    assert present == []
    assert why in lost.why
