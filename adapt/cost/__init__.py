"""What a network needs, priced kernel by kernel; nothing here measures."""

from adapt.cost.base import Amount, Cost, CostModel, Missing, Origin, counted
from adapt.cost.chain import Chain
from adapt.cost.counts import MacCount
from adapt.cost.energy import TableEnergy
from adapt.cost.eyeriss.model import EyerissCost
from adapt.cost.table import TableLatency, open_table, table_errors

__all__ = [
    "Amount",
    "Chain",
    "Cost",
    "CostModel",
    "EyerissCost",
    "MacCount",
    "Missing",
    "Origin",
    "TableEnergy",
    "TableLatency",
    "counted",
    "open_table",
    "table_errors",
]
