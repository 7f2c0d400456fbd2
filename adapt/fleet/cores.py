"""Which cores of a device to measure on: those of one clock group, since others are other machines.

A phone has two to four kinds of cores. A thread that wanders between them takes times of either,
so a core mask belongs to the platform, and by default holds the fastest kind alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapt.errors import UsageError
from adapt.fleet.device import Core

__all__ = ["CHOICES", "clock_groups", "core_mask"]

CHOICES = "big, little, all, or a mask such as 0xf0"
# Server processors give each core of a kind a highest clock of its own, some percent apart; the
# kinds of cores of phones are further apart than this.
SAME_KIND = 0.08
MAX_MASK_BITS = 64


def clock_groups(cores: Sequence[Core]) -> list[list[Core]]:
    """The cores by their kind, as their highest clocks tell it; fastest kind first.

    Where a core does not tell its clock, all are one group.
    """
    if not cores or any(core.max_khz <= 0 for core in cores):
        return [list(cores)]
    groups: list[list[Core]] = []
    for core in sorted(cores, key=lambda core: (-core.max_khz, core.index)):
        if groups and core.max_khz >= groups[-1][0].max_khz * (1 - SAME_KIND):
            groups[-1].append(core)
        else:
            groups.append([core])
    return groups


def core_mask(choice: str, cores: Sequence[Core], threads: int = 1) -> int:
    """The mask, bit i for CPU i, that `choice` (see CHOICES) means on a device with `cores`.

    "big" and "little" take as many kinds, from the fastest or the slowest, as give each of
    `threads` a core. 0 stands for all cores, also where a choice comes to that. Raises UsageError
    for what is no choice, or for cores that the device does not have.
    """
    everything = _mask(cores)
    if choice in ("big", "little"):
        groups = clock_groups(cores)
        chosen: list[Core] = []
        for group in groups if choice == "big" else reversed(groups):
            if len(chosen) < threads:
                chosen += group
        mask = _mask(chosen)
    elif choice == "all":
        mask = 0
    else:
        mask = _number(choice)
        if cores and mask & ~everything:
            raise UsageError(
                f"the device has no cores {mask & ~everything:#x}",
                f"its cores are {everything:#x}; give {CHOICES}",
            )
    return 0 if mask == everything else mask


def _mask(cores: Sequence[Core]) -> int:
    return sum(1 << core.index for core in cores if core.index < MAX_MASK_BITS)


def _number(text: str) -> int:
    try:
        mask = int(text, 0)
    except ValueError:
        mask = -1
    if not 0 <= mask < 1 << MAX_MASK_BITS:
        raise UsageError(f"not a choice of cores: {text!r}", f"give {CHOICES}")
    return mask
