"""Energy from a lookup table: what a meter told of kernels, and what that says of their like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from adapt.cost.base import Amount, Cost, Missing, Origin
from adapt.cost.table import TableLatency, table_errors
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.power import Power, PowerSample, choose_samples, kind_of, power_of
from lookup_tables.records import NullEnergy
from lookup_tables.store import Store

__all__ = ["EnergyAnswer", "TableEnergy"]

_Kind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EnergyAnswer:
    """Energy of one kernel above idle power, microjoules, its error as a share, and its origin."""

    energy_uj: float
    relative_error: float
    origin: Origin


class TableEnergy:
    """Energy on one platform, microjoules above idle power, as `meter` of its device tells it.

    A network takes the sum of its kernels, and the null op's energy once. A kernel that ran under
    the meter takes what that told; any other its time in the table times the power of its kind,
    see `lookup_tables.power`. Meters need seconds a kernel: Missing names no more than the few
    samples of each kind that are lacking, and once a kind has them it needs no other. All of it is
    hot: energy that cold weights take from memory further away is not in it.

    One object gives one price for a kernel for as long as it lives.
    """

    resources: frozenset[str] = frozenset({"energy"})

    def __init__(self, store: Store, platform: Platform, meter: str) -> None:
        self.platform = platform
        self.meter = meter
        self._store = store
        self._latency = TableLatency(store, platform, cold=False)
        self._answers: dict[Kernel, EnergyAnswer] = {}
        self._null: NullEnergy | None = None

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Energy of the network; raises Missing, or DeviceError for a quarantined kernel."""
        amounts = [_amount(answer) for answer in self.answers(kernels)]
        call = Amount.of(Origin.MEASURED, self._call_uj())
        return Cost({"energy": Amount.total([*amounts, call])})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Energy that each adds to a network of `kernels`; raises as `price` does."""
        return [Cost({"energy": _amount(answer)}) for answer in self.answers(kernels)]

    def answers(self, kernels: Sequence[Kernel]) -> list[EnergyAnswer]:
        """What is known of each kernel; raises as `price` does."""
        unknown = [kernel for kernel in dict.fromkeys(kernels) if kernel not in self._answers]
        if unknown:
            self._find(unknown)
        return [self._answers[kernel] for kernel in kernels]

    def _call_uj(self) -> float:
        """Energy of a model that does nothing, microjoules; 0 where all energies are imported."""
        if self._null is None:
            with table_errors():
                null = self._store.null_energy(self.platform, self.meter)
            self._null = null or NullEnergy(0.0, 0.0)
        return self._null.inference_uj

    def _find(self, kernels: Sequence[Kernel]) -> None:
        """Answer `kernels`, each named once, or raise Missing and answer none."""
        times = {
            kernel: cost["latency"].value
            for kernel, cost in zip(kernels, self._latency.price_each(kernels), strict=True)
        }
        measured, samples = self._metered()
        wanting: dict[_Kind, dict[Kernel, float]] = defaultdict(dict)
        found: dict[Kernel, EnergyAnswer] = {}
        powers = {kind: power_of(each) for kind, each in samples.items()}
        for kernel, time_us in times.items():
            power = powers.get(kind_of(kernel))
            if kernel in measured:
                found[kernel] = measured[kernel]
            elif power is not None:
                found[kernel] = _estimate(power, time_us)
            else:
                wanting[kind_of(kernel)][kernel] = time_us
        if wanting:
            raise Missing(
                energy=[
                    kernel
                    for kind, each in wanting.items()
                    for kernel in choose_samples(each, len(samples[kind]))
                ]
            )
        self._answers |= found

    def _metered(self) -> tuple[dict[Kernel, EnergyAnswer], dict[_Kind, list[PowerSample]]]:
        """What the meter told, by kernel, and as samples by kind."""
        with table_errors():
            entries = self._store.metered(self.platform, self.meter)
        measured: dict[Kernel, EnergyAnswer] = {}
        samples: dict[_Kind, list[PowerSample]] = defaultdict(list)
        for kernel, entry in entries.items():
            energy_uj, error = entry.energy_uj or 0.0, entry.energy_error or 0.0
            measured[kernel] = EnergyAnswer(energy_uj, error, Origin.MEASURED)
            samples[kind_of(kernel)].append(PowerSample(entry.latency_us, energy_uj))
        return measured, samples


def _estimate(power: Power, time_us: float) -> EnergyAnswer:
    return EnergyAnswer(power.watts * time_us, power.relative_error, Origin.INTERPOLATED)


def _amount(answer: EnergyAnswer) -> Amount:
    return Amount.of(answer.origin, answer.energy_uj)
