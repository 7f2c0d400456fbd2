"""Energy from a lookup table: the time of kernels times the power that a meter told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapt.cost.analytic import Analytic, Column
from adapt.cost.base import Amount, Cost, Missing, Origin
from adapt.cost.table import TableLatency, table_errors
from lookup_tables.kernel import Kernel
from lookup_tables.power import PowerSample, choose_samples, kind_of, power_of
from lookup_tables.records import NullEnergy
from lookup_tables.store import Store

__all__ = ["KernelPower", "TableEnergy"]

_Kind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class KernelPower:
    """What a kernel draws above idle power.

    Attributes:
        watts: microjoules a microsecond.
        relative_error: stated uncertainty as a share: the meter's, or the spread within its kind.
        origin: measured for the kernel itself, or interpolated from others of its kind.
    """

    watts: float
    relative_error: float
    origin: Origin


_NONE = KernelPower(0.0, 0.0, Origin.MEASURED)


class TableEnergy:
    """Energy on one platform, microjoules above idle power, as `meter` of its device tells it.

    A network takes the sum of its kernels, and the null op's energy once. A kernel takes its time
    in the network, as `latency` prices it, times its power: that of its entry where it ran under
    the meter, else that of its kind, see `lookup_tables.power`. Meters need seconds a kernel:
    Missing names no more than the few samples of each kind that are lacking, and once a kind has
    them it needs no other.

    With `offline` no device is at hand: kernels of kinds without samples take what the analytic
    model says, calibrated to all that ran under the meter.

    One object knows one power of a kernel for as long as it lives.
    """

    resources: frozenset[str] = frozenset({"energy"})

    def __init__(
        self, store: Store, latency: TableLatency, meter: str, *, offline: bool = False
    ) -> None:
        self.meter = meter
        self.analytic = Analytic(store, latency.platform, meter=meter) if offline else None
        self._store = store
        self._latency = latency
        self._powers: dict[Kernel, KernelPower] = {}
        self._null: NullEnergy | None = None

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Energy of the network; raises Missing, or DeviceError for a quarantined kernel."""
        amounts = [cost["energy"] for cost in self.price_each(kernels)]
        call = Amount.of(Origin.MEASURED, self._call_uj())
        return Cost({"energy": Amount.total([*amounts, call])})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Energy that each adds to a network of `kernels`; raises as `price` does."""
        times = [cost["latency"] for cost in self._latency.price_each(kernels)]
        longest: dict[Kernel, float] = {}
        for kernel, time in zip(kernels, times, strict=True):
            # What the runtime leaves out beside its neighbours takes nothing, at any power.
            if time.value > 0:
                longest[kernel] = max(time.value, longest.get(kernel, 0.0))
        powers = self.powers(longest)
        return [
            Cost({"energy": _energy(powers.get(kernel, _NONE), time)})
            for kernel, time in zip(kernels, times, strict=True)
        ]

    def powers(self, times_us: Mapping[Kernel, float]) -> Mapping[Kernel, KernelPower]:
        """What kernels that take so many microseconds draw; raises Missing for lacking samples."""
        unknown = {k: time_us for k, time_us in times_us.items() if k not in self._powers}
        if unknown:
            self._find(unknown)
        return self._powers

    def _find(self, times_us: Mapping[Kernel, float]) -> None:
        """Learn the powers of these kernels, or raise Missing and learn none."""
        measured, samples = self._metered()
        of_kinds = {kind: power_of(each) for kind, each in samples.items()}
        found: dict[Kernel, KernelPower] = {}
        wanting: dict[_Kind, dict[Kernel, float]] = defaultdict(dict)
        for kernel, time_us in times_us.items():
            power = of_kinds.get(kind_of(kernel))
            if kernel in measured:
                found[kernel] = measured[kernel]
            elif power is not None:
                found[kernel] = KernelPower(power.watts, power.relative_error, Origin.INTERPOLATED)
            else:
                wanting[kind_of(kernel)][kernel] = time_us
        if wanting and self.analytic is not None:
            found |= self._told({k: us for each in wanting.values() for k, us in each.items()})
        elif wanting:
            chosen = [choose_samples(each, len(samples[k])) for k, each in wanting.items()]
            raise Missing(energy=[kernel for each in chosen for kernel in each])
        self._powers |= found

    def _told(self, times_us: Mapping[Kernel, float]) -> dict[Kernel, KernelPower]:
        """Powers by which these kernels take their analytic energies; Missing if there are none."""
        assert self.analytic is not None
        with table_errors():
            energies = self.analytic.estimates(Column.ENERGY, times_us)
        if not energies:
            raise Missing(energy=times_us)
        return {
            kernel: KernelPower(each.value / times_us[kernel], each.relative_error, Origin.ANALYTIC)
            for kernel, each in energies.items()
        }

    def _metered(self) -> tuple[dict[Kernel, KernelPower], dict[_Kind, list[PowerSample]]]:
        """What the meter told, by kernel, and as samples by kind."""
        with table_errors():
            entries = self._store.metered(self._latency.platform, self.meter)
        measured: dict[Kernel, KernelPower] = {}
        samples: dict[_Kind, list[PowerSample]] = defaultdict(list)
        for kernel, entry in entries.items():
            energy_uj, error = entry.energy_uj or 0.0, entry.energy_error or 0.0
            watts = energy_uj / entry.latency_us
            measured[kernel] = KernelPower(watts, error, Origin.MEASURED)
            samples[kind_of(kernel)].append(PowerSample(entry.latency_us, energy_uj))
        return measured, samples

    def _call_uj(self) -> float:
        """Energy of a model that does nothing, microjoules; 0 where all energies are imported."""
        if self._null is None:
            with table_errors():
                null = self._store.null_energy(self._latency.platform, self.meter)
            self._null = null or NullEnergy(0.0, 0.0)
        return self._null.inference_uj


def _energy(power: KernelPower, time_us: Amount) -> Amount:
    """Time times power; no better known than the less known of the two."""
    order = list(Origin)
    parts = [
        Amount.of(max(origin, power.origin, key=order.index), part_us * power.watts)
        for origin, part_us in time_us.by_origin.items()
    ]
    return Amount.total(parts)
