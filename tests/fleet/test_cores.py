"""Which cores are measured on."""

from __future__ import annotations

import pytest

from adapt.fleet.cores import clock_groups, core_mask, on_cores
from adapt.fleet.device import Core, MeasureOptions
from adapt.fleet.local import LocalDevice


def cores(*max_mhz: int) -> list[Core]:
    return [Core(i, mhz * 1000, 300_000, "schedutil") for i, mhz in enumerate(max_mhz)]


PIXEL_6 = cores(1803, 1803, 1803, 1803, 2253, 2253, 2802, 2802)
# One prime core, four of two kinds of nearly one clock, three little ones.
SNAPDRAGON = cores(2016, 2016, 2016, 2803, 2803, 2803, 2803, 3187)
# A server: cores of one kind whose highest clocks differ.
SERVER = cores(4700, 4800, 4900, 4700)


def test_kinds_of_cores() -> None:
    assert [len(group) for group in clock_groups(PIXEL_6)] == [2, 2, 4]
    assert [len(group) for group in clock_groups(SNAPDRAGON)] == [1, 4, 3]
    assert [len(group) for group in clock_groups(SERVER)] == [4]
    assert [len(group) for group in clock_groups(cores(0, 0, 1803))] == [3]
    assert clock_groups([]) == [[]]


@pytest.mark.parametrize(
    ("device", "choice", "threads", "mask"),
    [
        (PIXEL_6, "big", 1, 0b1100_0000),
        (PIXEL_6, "big", 2, 0b1100_0000),
        (PIXEL_6, "big", 3, 0b1111_0000),
        (PIXEL_6, "little", 1, 0b0000_1111),
        (PIXEL_6, "all", 1, 0),
        (SNAPDRAGON, "big", 1, 0b1000_0000),
        (SERVER, "big", 1, 0),
        (cores(0, 0), "big", 1, 0),
        (cores(0, 0), "little", 1, 0),
    ],
)
def test_masks(device: list[Core], choice: str, threads: int, mask: int) -> None:
    assert core_mask(choice, device, threads) == mask


def test_a_mask_of_the_users_own_wins() -> None:
    with LocalDevice() as device:
        given = MeasureOptions(core_mask=1)
        assert on_cores(given, "little", device) is given
        assert on_cores(MeasureOptions(), "all", device).core_mask == 0
        cores = device.describe().identity.cores
        assert on_cores(MeasureOptions(), "big", device).core_mask == core_mask("big", cores)
