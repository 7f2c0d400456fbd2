"""The few kernels whose times tell whether a table still holds. Pure.

They are spread over the kinds of kernels and, within a kind, over its times. Where there is a
choice a sentinel takes long enough to be timed well, its entry agrees well, and it is an old one:
what is to be known is whether the oldest entries still hold, and what was measured last night says
nothing about the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from lookup_tables.kernel import Kernel
from lookup_tables.records import Entry

__all__ = ["SENTINELS", "Kind", "choose_sentinels", "kind_of", "timed_error"]

# Enough for a median that a few stray kernels do not move, in one batch of two seconds.
SENTINELS = 16

# Shorter kernels differ by 8 to 16 % between fresh processes, typical ones by 1 to 1.5 %.
_STEADY_US = 3.0

# Windows that agree so well met no disturbance.
_WELL_AGREED = 0.005


class Kind(NamedTuple):
    """Kernels that a change of the runtime or the device is likely to touch together."""

    op: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.op} {self.dtype}"


def kind_of(kernel: Kernel) -> Kind:
    """The kind that `kernel` belongs to."""
    return Kind(kernel.op, kernel.dtype)


def timed_error(entry: Entry) -> float:
    """The error of an entry as a share of all that was timed, the null op included.

    What a kernel of hundredths of a microsecond states as a share of itself says more of its size
    than of how well it was timed.
    """
    return entry.latency_us * entry.relative_error / (entry.latency_us + entry.null_us)


def choose_sentinels(entries: Mapping[Kernel, Entry], count: int = SENTINELS) -> list[Kernel]:
    """At most `count` of `entries`; the same for the same entries, in whatever order they come.

    Imports are never chosen: who measured them may have had another machine.
    """
    by_kind: dict[Kind, list[Kernel]] = defaultdict(list)
    for kernel, entry in entries.items():
        if not entry.source:
            by_kind[kind_of(kernel)].append(kernel)
    places = _allot({kind: len(kernels) for kind, kernels in by_kind.items()}, count)
    return [
        min(part, key=lambda kernel: _drawbacks(kernel, entries[kernel]))
        for kind, number in places.items()
        for part in _parts(by_kind[kind], number, entries)
    ]


def _allot(sizes: Mapping[Kind, int], count: int) -> dict[Kind, int]:
    """Places for each kind: one to each, largest first, then to those with most kernels a place."""
    order = sorted(sizes, key=lambda kind: (-sizes[kind], kind))
    places = dict.fromkeys(order[:count], 1)
    for _ in range(min(count, sum(sizes.values())) - len(places)):
        open_kinds = [kind for kind in places if places[kind] < sizes[kind]]
        if not open_kinds:
            break
        places[max(open_kinds, key=lambda kind: sizes[kind] / (places[kind] + 1))] += 1
    return places


def _parts(
    kernels: Sequence[Kernel], number: int, entries: Mapping[Kernel, Entry]
) -> list[list[Kernel]]:
    """`kernels` from fast to slow in `number` parts of about equal size, at most one a kernel."""
    ordered = sorted(kernels, key=lambda kernel: (entries[kernel].latency_us, kernel.key))
    cuts = [part * len(ordered) // number for part in range(number + 1)]
    return [ordered[low:high] for low, high in pairwise(cuts)]


def _drawbacks(kernel: Kernel, entry: Entry) -> tuple[bool, bool, float, str]:
    """What speaks against a kernel as a sentinel, the gravest first."""
    return (
        entry.latency_us < _STEADY_US,
        timed_error(entry) > _WELL_AGREED,
        entry.measured_at,
        kernel.key,
    )
