"""What a table's entries say of kernels that are not among them, and how far off a sum of such is.

See `lookup_tables.curves` for one kernel. Of a network, the errors of kernels of one family are
taken to go all in one direction, those of different families to be independent. Where an answer is
analytic, see `adapt.cost.calibration`, its class is what counts instead.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from adapt.cost.answer import Answer
from adapt.cost.base import Origin
from adapt.cost.calibration import class_of
from lookup_tables.curves import Curves
from lookup_tables.families import Family, member
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.store import Store
from lookup_tables.tiles import staircases

__all__ = ["Guesses", "Interpolation", "Kept", "Quantity"]


class Quantity(StrEnum):
    """What is interpolated of a kernel, each from entries of its own."""

    HOT = "hot"
    COLD = "cold"


@dataclass(frozen=True)
class Interpolation:
    """Curves of each quantity, microseconds, through a platform's entries.

    `revision` says which entries: see `Store.revision`.
    """

    curves: Mapping[Quantity, Curves]
    revision: tuple[int, int]

    @classmethod
    def read(cls, store: Store, platform: Platform) -> Interpolation:
        """From all entries of `platform`; raises the table library's errors."""
        revision = store.revision(platform)
        entries, steps = store.entries(platform), staircases(store.facts(platform))
        hot = {k: (e.latency_us, e.relative_error) for k, e in entries.items()}
        cold = {k: (e.cold_us, e.cold_error or 0.0) for k, e in entries.items() if e.cold_us}
        curves = {Quantity.HOT: Curves(hot, steps), Quantity.COLD: Curves(cold, steps)}
        return cls(curves, revision)


class Kept(Protocol):
    """Where guesses that prices were made of are kept: [microseconds, relative error] by kernel."""

    def get(self, quantity: str, kernel: Kernel) -> tuple[float, float] | None:
        """What was kept of `kernel`; None where nothing was."""
        ...

    def keep(self, guesses: Mapping[tuple[str, Kernel], tuple[float, float]]) -> None:
        """Keep `guesses`, by quantity and kernel."""
        ...


class Guesses:
    """Interpolated answers. Those that a price was made of stay as they are, whatever is learnt.

    `kept` has those of earlier sittings and takes the new ones.
    """

    def __init__(self, store: Store, platform: Platform, kept: Kept | None = None) -> None:
        self._store, self._platform, self._kept = store, platform, kept
        self._interpolation: Interpolation | None = None
        self._withdrawn = False
        self._open: dict[tuple[str, Kernel], Answer] = {}
        self._families: dict[Kernel, Family | None] = {}

    @property
    def interpolation(self) -> Interpolation:
        """The curves, read when first needed, and anew after a price that could not be made."""
        if self._withdrawn and self._interpolation is not None:
            self._withdrawn = False
            if self._interpolation.revision != self._store.revision(self._platform):
                self._interpolation = None
        if self._interpolation is None:
            self._interpolation = Interpolation.read(self._store, self._platform)
        return self._interpolation

    def kept(self, quantity: Quantity, kernels: Iterable[Kernel]) -> dict[Kernel, Answer]:
        """Those of `kernels` that prices were made of before."""
        if self._kept is None:
            return {}
        found = ((kernel, self._kept.get(quantity, kernel)) for kernel in kernels)
        return {k: Answer(*values, origin=Origin.INTERPOLATED) for k, values in found if values}

    def made(self, quantity: Quantity, kernels: Iterable[Kernel]) -> dict[Kernel, Answer]:
        """Guesses at those of `kernels` of which enough is known."""
        estimates = self.interpolation.curves[quantity].estimates(kernels)
        answers = {
            kernel: Answer(each.value, each.relative_error, origin=Origin.INTERPOLATED)
            for kernel, each in estimates.items()
        }
        self._open.update(((quantity, kernel), answer) for kernel, answer in answers.items())
        return answers

    def error_us(self, answers: Iterable[tuple[Kernel, Answer]]) -> float:
        """The error of the sum of all of `answers` that were not measured, microseconds."""
        alike: dict[Family | tuple[str, str] | None, float] = defaultdict(float)
        for kernel, answer in answers:
            error = answer.latency_us * answer.relative_error
            if answer.origin is Origin.INTERPOLATED:
                alike[self._family(kernel)] += error
            elif answer.origin is Origin.ANALYTIC:
                alike[class_of(kernel)] += error
        return math.hypot(*alike.values())

    def new_error_us(self, kernels: Iterable[Kernel], answers: Iterable[Answer]) -> float:
        """The same of the guesses since the last price: of those before, measuring helps none."""
        new = {kernel for _, kernel in self._open}
        pairs = zip(kernels, answers, strict=True)
        return self.error_us((kernel, answer) for kernel, answer in pairs if kernel in new)

    def accept(self) -> None:
        """A price was made of all guesses so far: they stay."""
        if self._kept is not None and self._open:
            self._kept.keep(
                {place: (a.latency_us, a.relative_error) for place, a in self._open.items()}
            )
        self._open.clear()

    def withdraw(self) -> list[tuple[str, Kernel]]:
        """Forget the guesses since the last price; the next are made from what is known then."""
        withdrawn = list(self._open)
        self._open.clear()
        self._withdrawn = True
        return withdrawn

    def _family(self, kernel: Kernel) -> Family | None:
        if kernel not in self._families:
            place = member(kernel)
            self._families[kernel] = place.family if place else None
        return self._families[kernel]
