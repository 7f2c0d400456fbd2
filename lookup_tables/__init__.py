"""Latency tables: what kernels cost on which platform, in one SQLite file.

Stands alone: `Store` keeps and answers, `judge` decides what to believe, `Kernel` and `Platform`
say what a row is about. `survey` looks into a file, `exchange` moves entries as CSV, `checks` tells
whether a file is sound.
"""

from lookup_tables.connection import TableError, TableFullError, TableLockedError
from lookup_tables.kernel import Kernel, Platform, Tensor, TextError
from lookup_tables.quality import Accepted, Reason, Rejected, Window, judge
from lookup_tables.records import (
    BatchRecord,
    ColdResult,
    Drift,
    Entry,
    Fact,
    KernelResult,
    NetworkResult,
    NetworkTime,
    NullResult,
    NullTime,
    Recorded,
    Rejection,
    TableCounts,
)
from lookup_tables.store import STRIKES, Store

__all__ = [
    "STRIKES",
    "Accepted",
    "BatchRecord",
    "ColdResult",
    "Drift",
    "Entry",
    "Fact",
    "Kernel",
    "KernelResult",
    "NetworkResult",
    "NetworkTime",
    "NullResult",
    "NullTime",
    "Platform",
    "Reason",
    "Recorded",
    "Rejected",
    "Rejection",
    "Store",
    "TableCounts",
    "TableError",
    "TableFullError",
    "TableLockedError",
    "Tensor",
    "TextError",
    "Window",
    "judge",
]
