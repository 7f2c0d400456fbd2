"""Budgets: limits on what a network may need, as the user states them, and as numbers.

    latency=12ms   latency=50%   energy=3mJ   macs=200M   params=40k   size=256KiB   memory=1MB
    latency@pixel-6=12ms

A percentage is of what the original network needs on the same platform. All limits must hold.

Of several devices, each has a latency and an energy of its own: the *names* of these are
"latency@pixel-6" and "latency@pi". What is the same everywhere, and what the only device needs, is
called as the resource is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from adapt.errors import UsageError

__all__ = [
    "RESOURCES",
    "Budget",
    "Limit",
    "Resource",
    "base",
    "binding",
    "device_of",
    "format_amount",
    "named",
    "own_resources",
    "parse_names",
    "within",
]

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
        on_device: whether it differs from device to device.
    """

    name: str
    meaning: str
    unit: str
    units: Mapping[str, float]
    shown: tuple[str, ...]
    example: str
    on_device: bool = False


RESOURCES: Mapping[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource(
            "latency",
            "time of one inference",
            "us",
            _TIMES,
            ("us", "ms", "s"),
            "latency=12ms",
            on_device=True,
        ),
        Resource(
            "energy",
            "energy of one inference",
            "uJ",
            _ENERGIES,
            ("uJ", "mJ", "J"),
            "energy=3mJ",
            on_device=True,
        ),
        Resource("macs", "multiply-accumulates", "", _COUNTS, ("", "k", "M", "G"), "macs=200M"),
        Resource("params", "parameters", "", _COUNTS, ("", "k", "M", "G"), "params=40k"),
        Resource("size", "bytes of the model file", "B", _BYTES, ("B", "kB", "MB"), "size=256KiB"),
        Resource(
            "memory", "peak bytes of activations", "B", _BYTES, ("B", "kB", "MB"), "memory=1MB"
        ),
    )
}

# A device may be called as it was asked for, equals signs included: the last one counts.
_LIMIT = re.compile(r"([a-z]+)(?:@(\S+))?=([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([A-Za-z]*|%)", re.ASCII)

# Prices are sums of many floating-point terms: a network at its limit meets it in any order of
# addition.
_ROUNDING = 1e-9

# Digits before the next larger unit reads better: 999.5 us would print as "1e+03 us".
_NEXT_UNIT = 999.5


@dataclass(frozen=True)
class Limit:
    """At most `value`: in the resource's unit, or, if `relative`, as a share of the original.

    `text` is what the user wrote, which parses to the same limit. `device` is that which it is for,
    empty where it is for all.
    """

    resource: str
    value: float
    relative: bool
    text: str = field(compare=False)
    device: str = ""

    @property
    def name(self) -> str:
        """What is limited: the resource, and of which device."""
        return named(self.resource, self.device)

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
            if limit.name in limits:
                raise UsageError(
                    f"the budget limits {limit.name} twice",
                    f"Give either {limits[limit.name]} or {limit}.",
                )
            limits[limit.name] = limit
        if not limits:
            raise UsageError("the budget is empty", _accepted_forms())
        return cls(tuple(limits.values()))

    def on(self, devices: Sequence[str], own: Collection[str]) -> Budget:
        """The budget with one limit for each name, on `devices`, each with `own` resources.

        A limit without a device holds on every device, except where another one is for that device
        alone. UsageError for a limit on what is no device, or of what all devices have in common.
        """
        for limit in self.limits:
            _check_device(limit, devices, own)
        found: dict[str, Limit] = {}
        for limit in sorted(self.limits, key=lambda limit: bool(limit.device)):
            if limit.resource not in own:
                found[limit.name] = limit
                continue
            for device in [limit.device] if limit.device else devices:
                placed = replace(limit, device=device if len(devices) > 1 else "")
                found[placed.name] = placed
        return Budget(tuple(found.values()))

    @property
    def resources(self) -> frozenset[str]:
        """Names of what is limited."""
        return frozenset(limit.name for limit in self.limits)

    def resolve(self, original: Mapping[str, float]) -> dict[str, float]:
        """Absolute limits in each resource's unit, by name.

        `original` holds what the original network needs, in the same units; KeyError where it
        lacks a resource with a relative limit.
        """
        return {
            limit.name: limit.value * (original[limit.name] if limit.relative else 1.0)
            for limit in self.limits
        }

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))


def named(resource: str, device: str) -> str:
    """The name of what is needed of `resource` on `device`, which is empty for the only one."""
    return f"{resource}@{device}" if device else resource


def own_resources(*, modelled_energy: bool = False) -> frozenset[str]:
    """The resources of which each device has its own amount; a model tells one energy for all."""
    own = frozenset(name for name, resource in RESOURCES.items() if resource.on_device)
    return own - {"energy"} if modelled_energy else own


def base(name: str) -> str:
    """The resource that `name` is about."""
    return name.partition("@")[0]


def device_of(name: str) -> str:
    """The device that `name` is about; empty for what is the same on all, or there is but one."""
    return name.partition("@")[2]


def parse_names(text: str, devices: Sequence[str], own: Collection[str]) -> list[str]:
    """The names of a resource that a user gives, as "latency" on all or "latency@pi" on one.

    UsageError for what is no resource, and for a device that is none of `devices` or needs no name.
    """
    resource, device = base(text), device_of(text)
    if resource not in RESOURCES or (device and (resource not in own or device not in devices)):
        raise UsageError(
            f"no such resource: {text!r}",
            f"Give one of {', '.join(RESOURCES)}; {' and '.join(sorted(own))} of several devices"
            f" as latency@{devices[0]}.",
        )
    if resource not in own or len(devices) == 1:
        return [resource]
    return [named(resource, each) for each in ([device] if device else devices)]


def within(cost: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    """Whether `cost` is at most `limits`, in equal units; KeyError where it lacks a resource."""
    return all(cost[name] <= limit * (1 + _ROUNDING) for name, limit in limits.items())


def binding(cost: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """The name of the one of `limits` of which `cost` uses the largest share; "" without limits."""
    return max(limits, key=lambda name: cost[name] / limits[name], default="")


def format_amount(resource: str, value: float) -> str:
    """`value`, in the resource's unit, for people: three digits and a unit of fitting size.

    `resource` may name a device as well.
    """
    kind = RESOURCES[base(resource)]
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
    name, device, number, unit = match.groups(default="")
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
        return Limit(name, value / 100, relative=True, text=text, device=device)
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
    return Limit(name, amount, relative=False, text=text, device=device)


def _check_device(limit: Limit, devices: Sequence[str], own: Collection[str]) -> None:
    if not limit.device:
        return
    if limit.resource not in own:
        raise UsageError(
            f"the budget {limit.text!r} names a device: {limit.resource} is the same on all",
            f"Give it as {limit.text.replace(f'@{limit.device}', '')}.",
        )
    if limit.device not in devices:
        raise UsageError(
            f"the budget {limit.text!r} is for {limit.device!r}, which is no --device",
            f"The devices are called: {' '.join(devices)}.",
        )


def _units(resource: Resource) -> str:
    return ", ".join(unit or "none" for unit in (*resource.units, "%"))


def _accepted_forms() -> str:
    lines = [
        f"  {resource.name}=<number><unit>  unit: {_units(resource)}; {resource.meaning},"
        f" e.g. {resource.example}"
        for resource in RESOURCES.values()
    ]
    return "Accepted forms, % being of the original network:\n  " + "\n  ".join(lines)
