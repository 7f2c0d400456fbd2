"""Which platforms of a table a device is today, and which it was before an update. Pure.

A device that got another OS build or another build of its runtime is a new platform. What was
measured before stays with the old one; the new one succeeds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from adapt.fleet.device import Description
from lookup_tables.kernel import Platform
from lookup_tables.survey import Summary

__all__ = ["Present", "Unreachable", "find_present"]

# What an update leaves as it is: device model, SoC, runtime, backend, threads, core mask.
_Lineage = tuple[str, str, str, str, int, int]


@dataclass(frozen=True)
class Present:
    """A platform that the device is today; `predecessor` is what it was until the last update."""

    platform: Platform
    predecessor: Platform | None = None


@dataclass(frozen=True)
class Unreachable:
    """A platform of the device that it cannot be today, and why."""

    platform: Platform
    why: str


def find_present(
    summaries: Iterable[Summary], description: Description
) -> tuple[list[Present], list[Unreachable]]:
    """Platforms of the table that the device is, or succeeds, in the order the table has them.

    Platforms of other devices are left out, as are old ones that have a successor.
    """
    identity = description.identity
    lineages: dict[_Lineage, list[Summary]] = defaultdict(list)
    for summary in summaries:
        platform = summary.platform
        if (platform.device_model, platform.soc) == (identity.device_model, identity.soc):
            lineages[_lineage(platform)].append(summary)
    present: list[Present] = []
    unreachable: list[Unreachable] = []
    for family in lineages.values():
        last = family[-1].platform
        why = _obstacle(last, description)
        if why:
            unreachable.append(Unreachable(last, why))
            continue
        platform = description.platform(last.backend, last.threads, last.core_mask)
        found = Present(platform, _predecessor(platform, family))
        known = any(summary.platform == platform for summary in family)
        if known or found.predecessor is not None:
            present.append(found)
    return present, unreachable


def _lineage(platform: Platform) -> _Lineage:
    return (
        platform.device_model,
        platform.soc,
        platform.runtime,
        platform.backend,
        platform.threads,
        platform.core_mask,
    )


def _obstacle(platform: Platform, description: Description) -> str:
    """Why the device cannot measure with the options of `platform`; empty where it can."""
    identity = description.identity
    if platform.runtime != identity.runtime:
        return f"its agent runs {identity.runtime}"
    if platform.backend not in identity.backends:
        return f"its runtime has no backend {platform.backend}"
    if platform.threads > description.limits.max_threads:
        return f"it runs at most {description.limits.max_threads} threads"
    cores = sum(1 << core.index for core in identity.cores)
    if platform.core_mask & ~cores:
        return f"it has the cores {cores:#x}"
    return ""


def _predecessor(platform: Platform, family: Iterable[Summary]) -> Platform | None:
    """The one of `family` that was measured last, where that ended before `platform` began.

    Two builds that are used in turns do not succeed each other.
    """
    began = float("inf")
    ended: list[tuple[float, Platform]] = []
    for summary in family:
        if summary.oldest is None or summary.newest is None:
            continue
        if summary.platform == platform:
            began = summary.oldest
        else:
            ended.append((summary.newest, summary.platform))
    earlier = [each for each in ended if each[0] < began]
    return max(earlier, key=lambda each: each[0])[1] if earlier else None
