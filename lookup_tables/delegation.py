"""Which operators a platform's runtime hands to a delegate, as its measurements saw it."""

from __future__ import annotations

from dataclasses import dataclass

from lookup_tables.kernel import Platform
from lookup_tables.store import Store

__all__ = ["Delegation", "delegations"]

_DELEGATIONS = """
    SELECT kernel.op, kernel.dtype, count(*), sum(measurement.delegated > 0)
    FROM platform
    JOIN entry ON entry.platform_id = platform.id
    JOIN kernel ON kernel.id = entry.kernel_id
    JOIN measurement ON measurement.id = entry.measurement_id
    WHERE platform.key = ? GROUP BY kernel.op, kernel.dtype ORDER BY kernel.op, kernel.dtype
"""


@dataclass(frozen=True, slots=True)
class Delegation:
    """Kernels of one operator and data type: how many were measured, how many delegated."""

    op: str
    dtype: str
    kernels: int
    delegated: int


def delegations(store: Store, platform: Platform) -> list[Delegation]:
    """Every operator that was measured on `platform`, in the order of names."""
    with store.connection.read() as database:
        return [Delegation(*row) for row in database.execute(_DELEGATIONS, (platform.key,))]
