"""Measuring on a device for a table: what it lacks, what is out of date, and whole networks.

Every batch is recorded before the next begins, so a kill loses the work of one batch at most.
"""

from adapt.refresh.cache import learn_cache, learn_memory
from adapt.refresh.cold import measure_cold
from adapt.refresh.energy import ENERGY_MS, measure_energy
from adapt.refresh.filling import Filled, fill
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.missing import measure_missing
from adapt.refresh.networks import (
    NETWORK_REPEATS,
    NetworkLatency,
    measure_network,
    measure_networks,
    side_by_side,
)
from adapt.refresh.nightly import Night, PlatformNight, refresh_tables
from adapt.refresh.queue import MAX_ATTEMPTS, MAX_BATCH_KERNELS, MAX_FAULTS, Refreshed
from adapt.refresh.session import OnProgress
from adapt.refresh.tiles import learn_tiles

__all__ = [
    "ENERGY_MS",
    "MAX_ATTEMPTS",
    "MAX_BATCH_KERNELS",
    "MAX_FAULTS",
    "NETWORK_REPEATS",
    "Filled",
    "NetworkLatency",
    "Night",
    "OnProgress",
    "PlatformNight",
    "Refreshed",
    "fill",
    "learn_cache",
    "learn_memory",
    "learn_tiles",
    "measure_cold",
    "measure_energy",
    "measure_kernels",
    "measure_missing",
    "measure_network",
    "measure_networks",
    "refresh_tables",
    "side_by_side",
]
