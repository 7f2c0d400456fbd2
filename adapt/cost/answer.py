"""What is known of one kernel within a network."""

from __future__ import annotations

from dataclasses import dataclass

from adapt.cost.base import Origin

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the table says of one kernel within a network.

    Attributes:
        latency_us: what the kernel adds to the network, microseconds.
        relative_error: its stated error as a share of `latency_us`.
        source: who measured it; empty where this table's own device did.
        hot: whether it counts as hot only for want of a cold time.
        free: whether the runtime leaves it out beside its neighbour.
    """

    latency_us: float
    relative_error: float
    origin: Origin = Origin.MEASURED
    source: str = ""
    hot: bool = False
    free: bool = False
