"""Learns what prices need to know of a platform, before anything asks for it.

Nothing here has to be called: whatever a price lacks is learnt when it is first needed. Learning
ahead takes a minute or two of an idle device, instead of the first job's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from adapt.cost.table import table_errors
from adapt.errors import DeviceError
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.cache import learn_cache, learn_memory
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.pairs import learn_pairs
from adapt.refresh.session import NULL_ID, Session
from adapt.refresh.tiles import all_axes, learn_tiles
from adapt.refresh.typical import TYPICAL_DTYPES, stepping_kernels, typical_kernels
from adapt.tflite.pairs import pairs_of
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import Accepted
from lookup_tables.records import Fact
from lookup_tables.store import Store

__all__ = ["NULL_FACT", "learn_platform"]

# Microseconds of a model that does nothing: what calling the runtime takes.
NULL_FACT = "null_us"

# Told what is learnt now.
OnStage = Callable[[str], None]


def learn_platform(
    store: Store,
    device: Device,
    *,
    options: MeasureOptions | None = None,
    networks: Sequence[Sequence[Kernel]] = (),
    on_stage: OnStage = lambda stage: None,
) -> dict[str, Fact]:
    """Learn the platform that `options` select on `device` anew; return its newest facts.

    The call of the runtime, the caches and the memory behind them, the kernels that networks are
    made of, with those that a delegate takes, what is left out of pairs of them, and in what steps
    they take channels. `networks` add their kernels, pairs and axes of channels. Raises DeviceError
    or Busy where the device fails, TableError where the table does; what was learnt until then
    stays.
    """
    options = options or MeasureOptions()
    chains = [*map(typical_kernels, TYPICAL_DTYPES), *networks]
    on_stage("the call of the runtime")
    platform = _learn_null(store, device, options)
    on_stage("caches")
    learn_cache(store, device, options=options)
    on_stage("memory")
    learn_memory(store, device, options=options)
    on_stage("kernels")
    measure_kernels(store, device, (k for chain in chains for k in chain), options=options)
    on_stage("pairs of kernels")
    pairs = [pair for chain in chains for pair in pairs_of(chain) if pair is not None]
    learn_pairs(store, device, pairs, options=options)
    stepping = [kernel for dtype in TYPICAL_DTYPES for kernel in stepping_kernels(dtype)]
    stepping += [kernel for network in networks for kernel in network]
    for axis in all_axes(stepping):
        on_stage(f"steps of channels: {axis}")
        learn_tiles(store, device, [axis], stepping, options=options)
    with table_errors():
        return store.facts(platform)


def _learn_null(store: Store, device: Device, options: MeasureOptions) -> Platform:
    session = Session.open(store, device, options)
    batch = session.measure([])
    number = session.record(batch).batch
    verdict = session.verdict(batch.outcomes[NULL_ID])
    if not isinstance(verdict, Accepted):
        raise DeviceError(
            f"{device.name} gave no steady time for a model that does nothing",
            "Quieten the device (other programs, charging, heat) and try again.",
        )
    evidence = {"batch": number, "relative_error": verdict.relative_error}
    with table_errors():
        store.record_fact(session.platform, NULL_FACT, verdict.latency_us, evidence)
    return session.platform
