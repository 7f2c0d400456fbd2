"""The seam between what a network needs and those who know it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from adapt.budget import RESOURCES, base, device_of, format_amount
from adapt.tflite.pairs import Pair
from lookup_tables.kernel import Kernel

__all__ = ["Amount", "Cost", "CostModel", "Missing", "Origin", "counted"]


class Origin(StrEnum):
    """How a part of an amount came to be known, from the strongest evidence to the weakest."""

    EXACT = "exact"
    MEASURED = "measured"
    INTERPOLATED = "interpolated"
    ANALYTIC = "analytic"


@dataclass(frozen=True)
class Amount:
    """What is needed of one resource, split by origin.

    The unit is that of the resource in `adapt.budget.RESOURCES`: microseconds, microjoules,
    operations, parameters or bytes. `error`, in the same unit, is what it may be off by, nine
    times in ten, for want of measurements: 0 where nothing was interpolated nor calibrated.
    """

    by_origin: Mapping[Origin, float]
    error: float = 0.0

    @classmethod
    def of(cls, origin: Origin, value: float) -> Amount:
        """`value`, all of one origin."""
        return cls({origin: value})

    @classmethod
    def total(cls, amounts: Iterable[Amount]) -> Amount:
        """Sum of `amounts`, correctly rounded, so that their order does not matter.

        Their errors are taken to be independent.
        """
        parts: dict[Origin, list[float]] = {}
        amounts = list(amounts)
        for amount in amounts:
            for origin, value in amount.by_origin.items():
                parts.setdefault(origin, []).append(value)
        sums = {origin: math.fsum(parts[origin]) for origin in Origin if origin in parts}
        return cls(sums, math.hypot(*(amount.error for amount in amounts)))

    @property
    def value(self) -> float:
        """All parts together."""
        return math.fsum(self.by_origin.values())


class Cost(Mapping[str, Amount]):
    """What a network needs, by resource; resources in the order of `adapt.budget.RESOURCES`.

    What it needs on one of several devices is called "latency@pixel-6"; see `adapt.budget`.
    """

    def __init__(self, amounts: Mapping[str, Amount]) -> None:
        unknown = sorted(name for name in amounts if base(name) not in RESOURCES)
        if unknown:
            raise ValueError(f"not resources: {', '.join(unknown)}")
        order = list(RESOURCES)
        names = sorted(amounts, key=lambda name: (order.index(base(name)), device_of(name)))
        self._amounts = {name: amounts[name] for name in names}

    def __getitem__(self, resource: str) -> Amount:
        return self._amounts[resource]

    def __iter__(self) -> Iterator[str]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    @property
    def values_by_resource(self) -> dict[str, float]:
        """Plain numbers in each resource's unit: what a Budget compares with its limits."""
        return {name: amount.value for name, amount in self._amounts.items()}

    def __or__(self, other: Mapping[str, Amount]) -> Cost:
        """This cost with the resources of `other` added, which replace those of equal name."""
        return Cost({**self._amounts, **other})

    def __str__(self) -> str:
        return ", ".join(f"{n} {format_amount(n, a.value)}" for n, a in self._amounts.items())

    def __repr__(self) -> str:
        return f"Cost({self._amounts!r})"


class Missing(Exception):
    """What must be measured before there is a price; each once, in the order they were met.

    Attributes:
        kernels: not in the table at all.
        cold: in the table, but without the time that they take with cold weights.
        facts: names of facts about the platform that have not been learnt.
        pairs: neighbouring kernels of kinds of which it is not known whether one of them is free.
        energy: kernels to run under the meter; in the table, but without an energy.
        networks: of a model that interpolates, the networks without a price, as their kernels:
            measuring some kernels of the same families may do for all of them.
        wholes: networks to be timed as a whole, by the widths of their groups.
        on: what lacks on each of several devices, by what these are called.
    """

    def __init__(
        self,
        kernels: Iterable[Kernel] = (),
        *,
        cold: Iterable[Kernel] = (),
        facts: Iterable[str] = (),
        pairs: Iterable[Pair] = (),
        energy: Iterable[Kernel] = (),
        networks: Iterable[Sequence[Kernel]] = (),
        wholes: Iterable[Mapping[str, int]] = (),
        on: Mapping[str, Missing] | None = None,
    ) -> None:
        self.kernels = tuple(dict.fromkeys(kernels))
        self.cold = tuple(dict.fromkeys(cold))
        self.facts = tuple(dict.fromkeys(facts))
        self.pairs = tuple(dict.fromkeys(pairs))
        self.energy = tuple(dict.fromkeys(energy))
        self.networks = tuple(dict.fromkeys(tuple(network) for network in networks))
        unique = dict.fromkeys(tuple(sorted(widths.items())) for widths in wholes)
        self.wholes = tuple(map(dict, unique))
        self.on = dict(on or {})
        parts = [f"the platform's {name} is not known" for name in self.facts]
        parts += _some(self.kernels, "are not in the table")
        parts += _some(self.cold, "have no time with cold weights in the table")
        parts += _some(self.energy, "have no energy in the table")
        if kinds := sorted({pair.kind for pair in self.pairs}):
            parts.append(f"{len(kinds)} kinds of pairs have not been timed: {', '.join(kinds[:3])}")
        if self.networks and not parts:
            parts.append(f"{len(self.networks)} networks are not known well enough")
        if self.wholes:
            parts.append(f"{len(self.wholes)} networks have not been timed as a whole")
        parts += [f"on {device}: {lack}" for device, lack in self.on.items()]
        super().__init__("; ".join(parts))

    def __bool__(self) -> bool:
        """Whether anything is missing."""
        return bool(
            self.kernels or self.cold or self.facts or self.pairs or self.energy or self.networks
            or self.wholes or any(self.on.values())
        )  # fmt: skip

    @property
    def values(self) -> dict[str, object]:
        """Everything that is missing: equal for those that lack the same."""
        return {**vars(self), "on": {device: lack.values for device, lack in self.on.items()}}

    @classmethod
    def together(cls, lacks: Iterable[Missing]) -> Missing:
        """All that several questions lack."""
        lacks = list(lacks)
        devices = dict.fromkeys(device for lack in lacks for device in lack.on)
        return cls(
            (kernel for lack in lacks for kernel in lack.kernels),
            cold=(kernel for lack in lacks for kernel in lack.cold),
            facts=(name for lack in lacks for name in lack.facts),
            pairs=(pair for lack in lacks for pair in lack.pairs),
            energy=(kernel for lack in lacks for kernel in lack.energy),
            networks=(network for lack in lacks for network in lack.networks),
            wholes=(widths for lack in lacks for widths in lack.wholes),
            on={
                device: cls.together(lack.on[device] for lack in lacks if device in lack.on)
                for device in devices
            },
        )


def _some(kernels: Sequence[Kernel], fault: str) -> list[str]:
    if not kernels:
        return []
    shown = "; ".join(kernel.text for kernel in kernels[:3])
    more = ", ..." if len(kernels) > 3 else ""
    return [f"{len(kernels)} kernels {fault}: {shown}{more}"]


class CostModel(Protocol):
    """Prices networks, given as the kernels that one inference runs, repeats included.

    A cost model never measures: it answers at once, or raises Missing with all that it can tell to
    be lacking; asked again with that measured, it may lack what only then shows.
    Kernels stand in the order in which they run, since neighbours may be fused. All of a model's
    amounts are finite and not negative.
    """

    @property
    def resources(self) -> frozenset[str]:
        """The resources that this model prices."""
        ...

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """What a network of `kernels`, at least one, needs of each of `resources`."""
        ...

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """What each of `kernels` adds to a network.

        Their sum is `price` less what every network pays once, such as the call of the runtime.
        What one adds may depend on the others.
        """
        ...


def counted(values: Mapping[str, float]) -> Cost:
    """The cost of a network whose `values`, in each resource's unit, were counted exactly."""
    return Cost({name: Amount.of(Origin.EXACT, value) for name, value in values.items()})
