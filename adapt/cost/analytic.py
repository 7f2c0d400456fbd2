"""Analytic answers of one platform: what its entries, few as they may be, say of all kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from adapt.cost.calibration import Calibration
from lookup_tables.curves import Estimate
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import Entry
from lookup_tables.store import Store

__all__ = ["Analytic", "Column"]


class Column(StrEnum):
    """What is calibrated, each by those entries that have it."""

    HOT = "hot"
    COLD = "cold"
    ENERGY = "energy"


_Value = tuple[float | None, float | None]

_VALUES: Mapping[Column, Callable[[Entry], _Value]] = {
    Column.HOT: lambda entry: (entry.latency_us, entry.relative_error),
    Column.COLD: lambda entry: (entry.cold_us, entry.cold_error),
    Column.ENERGY: lambda entry: (entry.energy_uj, entry.energy_error),
}


class Analytic:
    """Calibrations by the entries of `platform`; each column is read and fitted when asked for.

    One object gives one answer for as long as it lives, whatever is measured meanwhile. `meter` is
    the one whose energies count.
    """

    def __init__(self, store: Store, platform: Platform, *, meter: str = "") -> None:
        self._store, self._platform, self._meter = store, platform, meter
        self._calibrations: dict[Column, Calibration | None] = {}
        self._entries: Mapping[Kernel, Entry] | None = None

    def calibration(self, column: Column) -> Calibration | None:
        """How `column` is told; None where no entry has it. Raises the table library's errors."""
        if column not in self._calibrations:
            values = self._values(column)
            self._calibrations[column] = Calibration(values) if values else None
        return self._calibrations[column]

    def estimates(self, column: Column, kernels: Iterable[Kernel]) -> dict[Kernel, Estimate]:
        """Answers for `kernels`, none where the column is empty; microseconds or microjoules."""
        calibration = self.calibration(column)
        return {} if calibration is None else calibration.estimates(kernels)

    def _values(self, column: Column) -> dict[Kernel, tuple[float, float]]:
        if self._entries is None:
            self._entries = self._store.entries(self._platform)
        found = {}
        for kernel, entry in self._entries.items():
            value, error = _VALUES[column](entry)
            # What takes less than the call of the runtime has no logarithm.
            if value and value > 0 and (column != Column.ENERGY or self._of_meter(entry)):
                found[kernel] = (value, error or 0.0)
        return found

    def _of_meter(self, entry: Entry) -> bool:
        return entry.energy_meter == self._meter
