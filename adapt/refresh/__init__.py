"""Measuring on a device for a table: the kernels that it lacks, and whole networks.

Every batch is recorded before the next begins, so a kill loses the work of one batch at most.
"""

from adapt.refresh.kernels import MAX_ATTEMPTS, MAX_BATCH_KERNELS, Refreshed, measure_kernels
from adapt.refresh.networks import (
    NETWORK_REPEATS,
    NetworkLatency,
    measure_network,
    measure_networks,
)
from adapt.refresh.session import OnProgress

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_BATCH_KERNELS",
    "NETWORK_REPEATS",
    "NetworkLatency",
    "OnProgress",
    "Refreshed",
    "measure_kernels",
    "measure_network",
    "measure_networks",
]
