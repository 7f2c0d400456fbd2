"""Budgets: limits on what a network may need, as the user states them, and as numbers.

    latency=12ms   latency=50%   energy=3mJ   macs=200M   params=40k   size=256KiB   memory=1MB

A percentage is of what the original network needs on the same platform. All limits must hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adapt.errors import UsageError

__all__ = ["RESOURCES", "Budget", "Limit", "Resource", "format_amount", "within"]

_TIMES = {"us": 1.0, "ms": 1e3, "s": 1e6}
_ENERGIES = {"uJ": 1.0, "mJ": 1e3, "J": 1e6}
_COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "KiB": 1024.0,
    "MB": 1e6,
    "MiB": 1024.0**2,
}


@dataclass(frozen=True)
class Resource:
    """Something that a network needs.

    Attributes:
        name: as the user writes it.
        meaning: what is counted, for help and reports.
        unit: of every amount inside the program.
        units: factor to `unit` of each unit that a user may write, smallest first.
        shown: those of `units` that amounts are printed in.
        example: an absolute limit, for messages.
    """

    name: str
    meaning: str
    unit: str
    units: Mapping[str, float]
    shown: tuple[str, ...]
    example: str


RESOURCES: Mapping[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource(
            "latency", "time of one inference", "us", _TIMES, ("us", "ms", "s"), "latency=12ms"
        ),
        Resource(
            "energy", "energy of one inference", "uJ", _ENERGIES, ("uJ", "mJ", "J"), "energy=3mJ"
        ),
        Resource("macs", "multiply-accumulates", "", _COUNTS, ("", "k", "M", "G"), "macs=200M"),
        Resource("params", "parameters", "", _COUNTS, ("", "k", "M", "G"), "params=40k"),
        Resource("size", "bytes of the model file", "B", _BYTES, ("B", "kB", "MB"), "size=256KiB"),
        Resource(
            "memory", "peak bytes of activations", "B", _BYTES, ("B", "kB", "MB"), "memory=1MB"
        ),
    )
}

_LIMIT = re.compile(r"([a-z]+)=([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([A-Za-z]*|%)", re.ASCII)

# Prices are sums of many floating-point terms: a network at its limit meets it in any order of
# addition.
_ROUNDING = 1e-9

# Digits before the next larger unit reads better: 999.5 us would print as "1e+03 us".
_NEXT_UNIT = 999.5


@dataclass(frozen=True)
class Limit:
    """At most `value`: in the resource's unit, or, if `relative`, as a share of the original.

    `text` is what the user wrote, which parses to the same limit.
    """

    resource: str
    value: float
    relative: bool
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Budget:
    """Limits of which all must hold, at most one for each resource, in the order given."""

    limits: tuple[Limit, ...]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Budget:
        """The budget that `texts`, such as "latency=50%", state; UsageError where they do not."""
        limits: dict[str, Limit] = {}
        for text in texts:
            limit = _parse_limit(text)
            if limit.resource in limits:
                raise UsageError(
                    f"the budget limits {limit.resource} twice",
                    f"Give either {limits[limit.resource]} or {limit}.",
                )
            limits[limit.resource] = limit
        if not limits:
            raise UsageError("the budget is empty", _accepted_forms())
        return cls(tuple(limits.values()))

    @property
    def resources(self) -> frozenset[str]:
        """Names of the resources that are limited."""
        return frozenset(limit.resource for limit in self.limits)

    def resolve(self, original: Mapping[str, float]) -> dict[str, float]:
        """Absolute limits in each resource's unit, by resource.

        `original` holds what the original network needs, in the same units; KeyError where it
        lacks a resource with a relative limit.
        """
        return {
            limit.resource: limit.value * (original[limit.resource] if limit.relative else 1.0)
            for limit in self.limits
        }

    def met_by(self, cost: Mapping[str, float], original: Mapping[str, float]) -> bool:
        """Whether a network that needs `cost` meets the budget, given what the original needs."""
        return within(cost, self.resolve(original))

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))


def within(cost: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether `cost` is at most `limits`, in equal units; KeyError where it lacks a resource."""
    return all(cost[name] <= limit * (1 + _ROUNDING) for name, limit in limits.items())


def format_amount(resource: str, value: float) -> str:
    """`value`, in the resource's unit, for people: three digits and a unit of fitting size."""
    kind = RESOURCES[resource]
    unit = kind.shown[0]
    for candidate in kind.shown[1:]:
        if abs(value) / kind.units[unit] < _NEXT_UNIT:
            break
        unit = candidate
    number = value / kind.units[unit]
    if kind.units[unit] == 1.0 and number == round(number):
        text = f"{number:.0f}"
    else:
        # "#" keeps trailing zeros, so that amounts of a column have equal precision.
        text = f"{number:#.3g}".rstrip(".") if abs(number) < _NEXT_UNIT else f"{number:.0f}"
    return f"{text} {unit}".rstrip()


def _parse_limit(text: str) -> Limit:
    text = text.strip()
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(f"not a budget: {text!r}", _accepted_forms())
    name, number, unit = match.groups()
    resource = RESOURCES.get(name)
    if resource is None:
        raise UsageError(f"no such resource in the budget {text!r}: {name!r}", _accepted_forms())
    value = float(number)
    if unit == "%":
        if not 0 < value <= 100:
            raise UsageError(
                f"the percentage of the budget {text!r} is outside 0 to 100 %",
                f"It is a share of what the original network needs, e.g. {name}=50%.",
            )
        return Limit(name, value / 100, relative=True, text=text)
    if unit not in resource.units:
        raise UsageError(
            f"the budget {text!r} has no unit of {name}: {unit!r}"
            if unit
            else f"the budget {text!r} lacks a unit",
            f"Units of {name}: {_units(resource)}, for example {resource.example}.",
        )
    amount = value * resource.units[unit]
    if not (amount > 0 and math.isfinite(amount)):
        raise UsageError(
            f"the budget {text!r} leaves nothing for a network",
            f"Give an amount above 0, for example {resource.example}.",
        )
    return Limit(name, amount, relative=False, text=text)


def _units(resource: Resource) -> str:
    return ", ".join(unit or "none" for unit in (*resource.units, "%"))


def _accepted_forms() -> str:
    lines = [
        f"  {resource.name}=<number><unit>  unit: {_units(resource)}; {resource.meaning},"
        f" e.g. {resource.example}"
        for resource in RESOURCES.values()
    ]
    return "Accepted forms, % being of the original network:\n  " + "\n  ".join(lines)
