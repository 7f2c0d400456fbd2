"""What prices networks where no device is at hand: a stored table, then the analytic model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from adapt.cost.analytic import Column
from adapt.cost.base import CostModel
from adapt.cost.counts import MacCount
from adapt.cost.energy import TableEnergy
from adapt.cost.eyeriss.model import EyerissCost
from adapt.cost.table import TableLatency, table_errors
from lookup_tables.kernel import Platform
from lookup_tables.store import Store

__all__ = ["EYERISS", "ON_EYERISS", "Offline", "from_table", "on_eyeriss"]

# The device that is none: a chip known by its model alone.
EYERISS = "eyeriss"

# Said of every amount in units of that chip.
ON_EYERISS = "analytic: modelled on the Eyeriss chip, in its units; not measured"


@dataclass(frozen=True)
class Offline:
    """Cost models that need no device, for a `Chain`.

    Attributes:
        models: for each resource the first that offers it answers.
        told_by: by resource that is no plain count, what tells it, for people.
        table: of the platform; None where nothing was measured.
    """

    models: tuple[CostModel, ...]
    told_by: Mapping[str, str]
    table: TableLatency | None = None

    @property
    def has_energy(self) -> bool:
        """Whether a meter told energies of the platform."""
        return self.told_by["energy"] != ON_EYERISS


def on_eyeriss() -> Offline:
    """The analytic model alone: shares of a network's cost make sense, amounts are the chip's."""
    return Offline((MacCount(), EyerissCost()), dict.fromkeys(("latency", "energy"), ON_EYERISS))


def from_table(store: Store, platform: Platform) -> Offline:
    """What the entries of `platform` tell, measured or interpolated, and else the analytic model.

    It is calibrated to latencies and energies of the platform if there are any, and else answers in
    units of its chip. Raises TableError where the table cannot be read.
    """
    with table_errors():
        entries = store.entries(platform)
    if not entries:
        return on_eyeriss()
    table = TableLatency(store, platform, offline=True)
    models: list[CostModel] = [table, MacCount()]
    told_by = {"latency": f"{platform}: table; analytic where it has no answer, {_fit(table)}"}
    meters = Counter(entry.energy_meter for entry in entries.values() if entry.energy_uj)
    if meters:
        (meter, _), *_ = meters.most_common()
        energy = TableEnergy(store, table, meter, offline=True)
        models.append(energy)
        told_by["energy"] = f"{platform}: {meter}; analytic where it has no answer, {_fit(energy)}"
    else:
        models.append(EyerissCost())
        told_by["energy"] = ON_EYERISS
    return Offline(tuple(models), told_by, table)


def _fit(model: TableLatency | TableEnergy) -> str:
    column = Column.HOT if isinstance(model, TableLatency) else Column.ENERGY
    assert model.analytic is not None
    with table_errors():
        return str(model.analytic.calibration(column))
