"""The staircases of a platform, as facts in its table.

A fact's value is the tile, in channels; its evidence is the sweep that showed it, from which the
staircase is made anew wherever it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping

from lookup_tables.families import Axis
from lookup_tables.records import Fact, JsonObject
from lookup_tables.staircase import PLAIN, Staircase, find_staircase

__all__ = ["staircases", "sweep_evidence", "tile_axis", "tile_fact"]

_SUFFIX = ".tile_channels"
_SWEEP = "microseconds_by_channels"


def tile_fact(axis: Axis) -> str:
    """Name of the fact that holds the tile of `axis`."""
    return f"{axis}{_SUFFIX}"


def tile_axis(fact: str) -> Axis | None:
    """The axis whose tile the fact called `fact` holds; None for other facts."""
    if not fact.endswith(_SUFFIX):
        return None
    op, *parts = fact.removesuffix(_SUFFIX).split(".")
    if len(parts) == 2:
        parts.insert(1, "")
    return Axis(op, *parts) if len(parts) == 3 else None


def sweep_evidence(sweep: Mapping[int, float]) -> JsonObject:
    """The evidence of a tile: `sweep` is microseconds by channel count."""
    return {_SWEEP: [[count, sweep[count]] for count in sorted(sweep)]}


def staircases(facts: Mapping[str, Fact]) -> dict[Axis, Staircase]:
    """What is known of each axis; plain where its sweep showed no steps."""
    found: dict[Axis, Staircase] = {}
    for name, fact in facts.items():
        axis = tile_axis(name)
        if axis is not None:
            found[axis] = find_staircase(_sweep(fact.evidence)) or PLAIN
    return found


def _sweep(evidence: JsonObject) -> dict[int, float]:
    """The sweep in `evidence`; empty where there is none."""
    points = evidence.get(_SWEEP)
    if not isinstance(points, list):
        return {}
    return {
        point[0]: float(point[1])
        for point in points
        if isinstance(point, list)
        and len(point) == 2
        and isinstance(point[0], int)
        and isinstance(point[1], int | float)
        and point[0] >= 1
        and point[1] > 0
    }
