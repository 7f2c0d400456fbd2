"""Measures what makes the prices of some networks good enough, and no more."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adapt.cost.base import Missing
from adapt.cost.cold import CACHE_FACT, cold_share, turns_cold
from adapt.cost.interpolation import Interpolation, Quantity
from adapt.cost.table import TableLatency, table_errors
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.cold import measure_cold
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.missing import measure_missing
from adapt.refresh.planner import Demand, Step, plan
from adapt.refresh.queue import MAX_BATCH_KERNELS, Refreshed
from adapt.refresh.session import OnProgress
from adapt.refresh.tiles import learn_tiles, stepping_axes
from adapt.tflite.quantities import macs, weight_bytes
from lookup_tables.families import Axis
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.staircase import SWEEP
from lookup_tables.store import Store
from lookup_tables.tiles import tile_fact

__all__ = ["Filled", "fill"]

# What a measurement takes of the device, seconds, beside the runs themselves; and how many runs of
# a kernel that takes longer than a window.
_HOT_SECONDS, _HOT_RUNS = 0.035, 10
_COLD_SECONDS, _COLD_RUNS = 0.13, 80

# With fewer unknown kernels than a sweep has, measuring them all is quicker than learning how they
# step. A sweep pays where its axis stands for that many, and for more than a hundredth of the work.
_FEW = len(SWEEP)
_WORTH = 0.01

# No network takes less: what divides by a latency stays finite.
_LEAST_US = 1e-3


@dataclass
class Filled:
    """How far filling got.

    Attributes:
        refreshed: what was measured.
        errors: of each network, in the order given, what its latency may be off by as a share of
            it, nine times in ten; infinite where some kernel has no answer.
        seconds: that it took, by the clock.
    """

    refreshed: Refreshed = field(default_factory=Refreshed)
    errors: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fill(
    store: Store,
    device: Device,
    networks: Sequence[Sequence[Kernel]],
    *,
    max_error: float,
    time_limit_s: float = math.inf,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Filled:
    """Measure until each of `networks`, as kernels, has a latency known within `max_error` of it.

    Ends earlier after `time_limit_s`, or when kernels without which there is no answer could not be
    measured; the errors tell. Other errors are those of `measure_kernels`.
    """
    run = _Filling(store, device, networks, max_error, options or MeasureOptions(), on_progress)
    start = clock()
    while run.advance() and clock() - start < time_limit_s:
        pass
    run.filled.errors = run.errors()
    run.filled.seconds = clock() - start
    return run.filled


class _Filling:
    """The state of `fill`, which advances batch by batch."""

    def __init__(
        self,
        store: Store,
        device: Device,
        networks: Sequence[Sequence[Kernel]],
        max_error: float,
        options: MeasureOptions,
        on_progress: OnProgress | None,
    ) -> None:
        self.filled = Filled()
        self._store, self._device, self._options = store, device, options
        self._networks, self._max_error = networks, max_error
        self._on_progress = on_progress
        self._platform: Platform = device.platform(
            options.backend, options.threads, options.core_mask
        )

    def advance(self) -> bool:
        """Measure one batch; False where nothing is left that would help."""
        if self._learn_facts():
            return True
        table = self._table()
        bad = [net for net in self._networks if self._error(table, net) > self._max_error]
        if not bad:
            return False
        unknown = self._unknown(bad)
        if len(unknown) <= _FEW:
            return self._measure_all(bad)
        if self._learn_tiles(unknown):
            return True
        return self._measure_some(table.interpolation, bad)

    def errors(self) -> list[float]:
        """What is known of each network now."""
        table = self._table()
        return [self._error(table, network) for network in self._networks]

    def _table(self) -> TableLatency:
        return TableLatency(self._store, self._platform, max_error=math.inf)

    def _error(self, table: TableLatency, network: Sequence[Kernel]) -> float:
        try:
            amount = table.price(network)["latency"]
        except Missing:
            return math.inf
        return amount.error / max(amount.value, _LEAST_US)

    def _learn_facts(self) -> bool:
        """Learn what the platform must be known for; whether there was anything."""
        table = TableLatency(self._store, self._platform)
        lacks = [table.answers(network)[1] for network in self._networks]
        together = Missing.together(lacks)
        lack = Missing(facts=together.facts, pairs=together.pairs)
        if lack:
            measure_missing(self._store, self._device, lack, options=self._options)
        return bool(lack)

    def _unknown(self, networks: Iterable[Sequence[Kernel]]) -> list[Kernel]:
        """Kernels of `networks` that the device can and may still measure."""
        kernels = dict.fromkeys(kernel for network in networks for kernel in network)
        with table_errors():
            entries = self._store.entries(self._platform, kernels)
        failed = self.filled.refreshed.failed
        return [kernel for kernel in kernels if kernel not in entries and kernel not in failed]

    def _measure_all(self, networks: Iterable[Sequence[Kernel]]) -> bool:
        """Measure every kernel of `networks`; whether any was lacking."""
        table = TableLatency(self._store, self._platform)
        lack = Missing.together(table.answers(network)[1] for network in networks)
        failed = self.filled.refreshed.failed
        lack = Missing(
            (kernel for kernel in lack.kernels if kernel not in failed),
            cold=(kernel for kernel in lack.cold if kernel not in failed),
        )
        if lack:
            self._add(
                measure_missing(
                    self._store,
                    self._device,
                    lack,
                    options=self._options,
                    on_progress=self._progress(),
                )
            )
        return bool(lack)

    def _learn_tiles(self, unknown: Sequence[Kernel]) -> bool:
        """Sweep the axes for which that pays; whether there was any."""
        with table_errors():
            facts = self._store.facts(self._platform)
        work = sum(map(macs, unknown))
        axes: list[Axis] = [
            axis
            for axis, kernels in stepping_axes(unknown).items()
            if tile_fact(axis) not in facts
            and len(kernels) > _FEW
            and sum(map(macs, kernels)) > _WORTH * work
        ]
        if axes:
            learn_tiles(
                self._store,
                self._device,
                axes,
                unknown,
                options=self._options,
                on_progress=self._progress(),
            )
        return bool(axes)

    def _measure_some(
        self, interpolation: Interpolation, networks: Sequence[Sequence[Kernel]]
    ) -> bool:
        """Measure a batch of what helps `networks` most; whether there was anything to measure."""
        steps = self._plan(interpolation, networks)
        failed = self.filled.refreshed.failed
        chosen = {
            quantity: [step.kernel for step in steps[quantity] if step.kernel not in failed]
            for quantity in Quantity
        }
        if not any(chosen.values()):
            return False
        with table_errors():
            entries = self._store.entries(self._platform, chosen[Quantity.COLD])
        hot = dict.fromkeys(chosen[Quantity.HOT])
        # A cold time stands beside a hot one of the same device.
        hot |= dict.fromkeys(k for k in chosen[Quantity.COLD] if k not in entries)
        progress = self._progress()
        self._add(
            measure_kernels(
                self._store, self._device, hot, options=self._options, on_progress=progress
            )
        )
        cold = [k for k in chosen[Quantity.COLD] if k not in self.filled.refreshed.failed]
        if cold:
            self._add(
                measure_cold(
                    self._store, self._device, cold, options=self._options, on_progress=progress
                )
            )
        return True

    def _plan(
        self, interpolation: Interpolation, networks: Sequence[Sequence[Kernel]]
    ) -> dict[Quantity, list[Step]]:
        """The best steps of both quantities, as many as a batch holds."""
        with table_errors():
            cache = self._store.facts(self._platform).get(CACHE_FACT)
            hopeless = self._store.never_cold(self._platform)
        size = cache.value if cache else math.inf

        def changes(kernel: Kernel) -> bool:
            return kernel not in hopeless and turns_cold(weight_bytes(kernel), size)

        weights = [_weights(network, size, changes) for network in networks]
        totals = [_total(each, interpolation) for each in weights]
        steps = {
            quantity: plan(
                Demand(
                    weights=[each[quantity] for each in weights],
                    totals=totals,
                    curves=interpolation.curves[quantity],
                    seconds=seconds,
                    runs=runs,
                    suits=suits,
                ),
                MAX_BATCH_KERNELS,
            )
            for quantity, seconds, runs, suits in (
                (Quantity.HOT, _HOT_SECONDS, _HOT_RUNS, lambda kernel: True),
                (Quantity.COLD, _COLD_SECONDS, _COLD_RUNS, changes),
            )
        }
        gains = sorted((step.gain for each in steps.values() for step in each), reverse=True)
        least = gains[:MAX_BATCH_KERNELS][-1] if gains else 0.0
        return {q: [step for step in each if step.gain >= least] for q, each in steps.items()}

    def _progress(self) -> OnProgress:
        """Reports a batch after those before it."""
        before = len(self.filled.refreshed.measured)

        def report(done: int, total: int) -> None:
            if self._on_progress is not None:
                self._on_progress(before + done, before + total)

        return report

    def _add(self, more: Refreshed) -> None:
        summary = self.filled.refreshed
        summary.measured.update(more.measured)
        summary.failed.update(more.failed)
        summary.batches += more.batches
        summary.device_ms += more.device_ms


def _weights(
    network: Sequence[Kernel], cache: float, changes: Callable[[Kernel], bool]
) -> dict[Quantity, dict[Kernel, float]]:
    """How often the hot and the cold time of each kernel count in the latency of `network`.

    `cache` is the platform's CACHE_FACT; `changes` tells the kernels that have a cold time.
    """
    counts = Counter(network)
    share = cold_share(sum(weight_bytes(kernel) for kernel in network), cache)
    cold = {kernel for kernel in counts if share > 0 and changes(kernel)}
    return {
        Quantity.HOT: {k: n * (1 - share if k in cold else 1.0) for k, n in counts.items()},
        Quantity.COLD: {k: n * share for k, n in counts.items() if k in cold},
    }


def _total(
    weights: Mapping[Quantity, Mapping[Kernel, float]], interpolation: Interpolation
) -> float:
    """Latency of a network, microseconds, as far as it is known."""
    known = math.fsum(
        each[kernel] * estimate.value
        for quantity, each in weights.items()
        for kernel, estimate in interpolation.curves[quantity].estimates(each).items()
    )
    return max(known, _LEAST_US)
