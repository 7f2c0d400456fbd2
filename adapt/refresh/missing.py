"""Measures whatever a cost model says is missing."""

from __future__ import annotations

from adapt.cost.base import Missing
from adapt.cost.cold import CACHE_FACT
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.cache import learn_cache
from adapt.refresh.cold import measure_cold
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.queue import Refreshed
from adapt.refresh.session import OnProgress
from lookup_tables.store import Store

__all__ = ["measure_missing"]


def measure_missing(
    store: Store,
    device: Device,
    lack: Missing,
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> Refreshed:
    """Learn the facts, then measure the kernels and the cold times that `lack` names.

    Errors are those of `measure_kernels`.
    """
    if CACHE_FACT in lack.facts:
        learn_cache(store, device, options=options)
    total = len(lack.kernels) + len(lack.cold)

    def part(before: int) -> OnProgress:
        def report(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(before + done, total)

        return report

    hot = measure_kernels(store, device, lack.kernels, options=options, on_progress=part(0))
    cold = measure_cold(
        store, device, lack.cold, options=options, on_progress=part(len(lack.kernels))
    )
    return Refreshed(
        measured=hot.measured | cold.measured,
        failed=hot.failed | cold.failed,
        batches=hot.batches + cold.batches,
        device_ms=hot.device_ms + cold.device_ms,
    )
