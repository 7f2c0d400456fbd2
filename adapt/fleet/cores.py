"""Which cores of a device to measure on: those of one clock group, since others are other machines.

A phone has two to four kinds of cores. A thread that wanders between them takes times of either,
so a core mask belongs to the platform, and by default holds the fastest kind alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapt.fleet.device import Core, Device, MeasureOptions

__all__ = ["KINDS", "clock_groups", "core_mask", "on_cores"]

KINDS = ("big", "little", "all")
# Server processors give each core of a kind a highest clock of its own, some percent apart; the
# kinds of cores of phones are further apart than this.
SAME_KIND = 0.08
MASK_BITS = 64


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


def core_mask(kind: str, cores: Sequence[Core], threads: int = 1) -> int:
    """The mask, bit i for CPU i, of a kind of cores (see KINDS) on a device with `cores`.

    "big" and "little" take as many groups, from the fastest or the slowest, as give each of
    `threads` a core. 0 stands for all cores, also where another kind comes to that.
    """
    groups = clock_groups(cores)
    if kind == "little":
        groups.reverse()
    chosen: list[Core] = []
    for group in groups:
        if len(chosen) < threads or kind == "all":
            chosen += group
    if len(chosen) == len(cores):
        return 0
    return sum(1 << core.index for core in chosen if core.index < MASK_BITS)


def on_cores(options: MeasureOptions, kind: str, device: Device) -> MeasureOptions:
    """`options` with the mask that `kind` means on `device`, unless they have one already."""
    if options.core_mask or kind == "all":
        return options
    cores = device.describe().identity.cores
    return replace(options, core_mask=core_mask(kind, cores, options.threads))
