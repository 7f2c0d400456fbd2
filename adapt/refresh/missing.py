"""Measures whatever a cost model says is missing."""

from __future__ import annotations

from collections.abc import Sequence

from adapt.cost.base import Missing
from adapt.cost.cold import CACHE_FACT, L3_PS_FACT, MEMORY_FACTS
from adapt.cost.table import table_errors
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.cache import learn_cache, learn_memory
from adapt.refresh.cold import measure_cold
from adapt.refresh.energy import measure_energy
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.pairs import learn_pairs
from adapt.refresh.queue import Refreshed
from adapt.refresh.session import OnProgress
from lookup_tables.kernel import Kernel
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
    """Learn the facts, measure the kernels, cold times, pairs and energies that `lack` names.

    A cold time and an energy stand beside a hot time of the same device: what is known only from an
    import is measured hot first. Errors are those of `measure_kernels` and `measure_energy`.
    """
    options = options or MeasureOptions()
    if {CACHE_FACT, L3_PS_FACT} & set(lack.facts):
        learn_cache(store, device, options=options)
    if set(MEMORY_FACTS) & set(lack.facts):
        learn_memory(store, device, options=options)
    wanted = dict.fromkeys(lack.kernels) | dict.fromkeys(
        _without_own(store, device, options, (*lack.cold, *lack.energy))
    )
    total = len(wanted) + len(lack.cold) + len(lack.energy)

    def part(before: int) -> OnProgress:
        def report(done: int, _: int) -> None:
            if on_progress is not None:
                on_progress(before + done, total)

        return report

    hot = measure_kernels(store, device, wanted, options=options, on_progress=part(0))
    cold = measure_cold(
        store,
        device,
        [kernel for kernel in lack.cold if kernel not in hot.failed],
        options=options,
        on_progress=part(len(wanted)),
    )
    if lack.pairs:
        learn_pairs(store, device, lack.pairs, options=options)
    energy = measure_energy(
        store,
        device,
        [kernel for kernel in lack.energy if kernel not in hot.failed],
        options=options,
        on_progress=part(len(wanted) + len(lack.cold)),
    )
    return Refreshed(
        measured=hot.measured | cold.measured | energy.measured,
        failed=hot.failed | cold.failed,
        unmetered=energy.failed,
        batches=hot.batches + cold.batches + energy.batches,
        device_ms=hot.device_ms + cold.device_ms + energy.device_ms,
    )


def _without_own(
    store: Store, device: Device, options: MeasureOptions, kernels: Sequence[Kernel]
) -> list[Kernel]:
    """Those of `kernels` that the device itself has not measured."""
    if not kernels:
        return []
    platform = device.platform(options.backend, options.threads, options.core_mask)
    with table_errors():
        entries = store.entries(platform, kernels)
    return [kernel for kernel in kernels if kernel not in entries or entries[kernel].source]
