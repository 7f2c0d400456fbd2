"""Latency from a lookup table: the sum of what the kernels took when measured one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapt.cost.base import Amount, Cost, Missing, Origin
from adapt.cost.cold import CACHE_FACT, COLD_FROM, SMALLEST_CACHE, cold_share, turns_cold
from adapt.errors import Busy, DeviceError, TableError
from adapt.tflite.quantities import weight_bytes
from lookup_tables import connection
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.store import Store

__all__ = ["TableLatency", "open_table", "table_errors"]


@contextmanager
def table_errors() -> Iterator[None]:
    """Turn the table library's errors into those of this program, with what to do."""
    try:
        yield
    except connection.TableLockedError as error:
        raise Busy(str(error), "Wait for the other process to end, or stop it.") from error
    except connection.TableFullError as error:
        raise TableError(
            str(error), "What was recorded is safe. Make room and resume the job."
        ) from error
    except connection.TableError as error:
        raise TableError(str(error), "Name another table file, or mend this one.") from error


def open_table(path: Path) -> Store:
    """The table file at `path`, made if there is none; TableError or Busy where it is unusable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TableError(
            f"no table can be kept in {path.parent}: {error.strerror}", "Name another folder."
        ) from error
    with table_errors():
        return Store(path)


class TableLatency:
    """Latency on one platform, microseconds, from the entries of `store`.

    A network takes the sum of its kernels, each without the time that calling the runtime takes,
    and that time once. A kernel takes its hot time where the weights of the whole network stay in
    the cache, its cold time where they exceed it, something between for sizes between: see
    `adapt.cost.cold`. With `cold` false all count as hot, which is for comparison.

    Entries and facts are read once and kept: one object gives one price for a network for as long
    as it lives, whatever is measured meanwhile.
    """

    resources: frozenset[str] = frozenset({"latency"})

    def __init__(self, store: Store, platform: Platform, *, cold: bool = True) -> None:
        self.platform = platform
        self._store = store
        self._with_cold = cold
        # Hot time in microseconds, and bytes of weights.
        self._hot: dict[Kernel, tuple[float, int]] = {}
        self._cold: dict[Kernel, float] = {}
        self._null_us: float | None = None
        self._cache: float | None = None

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Latency of the network; raises Missing, or DeviceError for a quarantined kernel."""
        times = self._times(kernels)
        return _latency(math.fsum((*times, self._null_time())))

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Latency that each adds to a network of `kernels`; raises as `price` does."""
        return [_latency(time) for time in self._times(kernels)]

    def _times(self, kernels: Sequence[Kernel]) -> list[float]:
        """Microseconds of each kernel in a network of all of them."""
        known = self._known(kernels)
        weights = sum(size for _, size in known)
        if not self._with_cold or weights <= COLD_FROM * SMALLEST_CACHE:
            return [hot for hot, _ in known]
        cache = self._cache_bytes()
        share = cold_share(weights, cache)
        if share == 0:
            return [hot for hot, _ in known]
        changing = {
            kernel
            for kernel, (_, size) in zip(kernels, known, strict=True)
            if turns_cold(size, cache)
        }
        self._fetch_cold([kernel for kernel in kernels if kernel in changing])
        return [
            # Noise apart, weights from further away never make a kernel faster.
            hot + share * max(0.0, self._cold[kernel] - hot) if kernel in changing else hot
            for kernel, (hot, _) in zip(kernels, known, strict=True)
        ]

    def _known(self, kernels: Sequence[Kernel]) -> list[tuple[float, int]]:
        hot = self._hot
        try:
            return [hot[kernel] for kernel in kernels]
        except KeyError:
            self._fetch([kernel for kernel in kernels if kernel not in hot])
        return [hot[kernel] for kernel in kernels]

    def _fetch(self, kernels: Sequence[Kernel]) -> None:
        """Read `kernels` from the store; raise Missing for those that it lacks."""
        with table_errors():
            entries = self._store.entries(self.platform, kernels)
            missing = [kernel for kernel in kernels if kernel not in entries]
            poisonous = self._store.quarantined(self.platform) if missing else {}
        for kernel, entry in entries.items():
            self._hot[kernel] = (entry.latency_us, weight_bytes(kernel))
            if entry.cold_us is not None:
                self._cold[kernel] = entry.cold_us
        for kernel in missing:
            if kernel in poisonous:
                verdict = poisonous[kernel]
                raise DeviceError(
                    f"{self.platform} cannot run this kernel ({verdict.reason}"
                    f" {verdict.detail}): {kernel}",
                    "Use another backend or device, or keep the layer that it comes from as it is.",
                )
        if missing:
            raise Missing(missing)

    def _fetch_cold(self, kernels: Sequence[Kernel]) -> None:
        """Read the cold times of `kernels`; raise Missing for those without."""
        unknown = [kernel for kernel in kernels if kernel not in self._cold]
        if not unknown:
            return
        with table_errors():
            entries = self._store.entries(self.platform, unknown)
        for kernel, entry in entries.items():
            if entry.cold_us is not None:
                self._cold[kernel] = entry.cold_us
        missing = [kernel for kernel in unknown if kernel not in self._cold]
        if missing:
            raise Missing(cold=missing)

    def _cache_bytes(self) -> float:
        """Size of the cache that keeps weights; raises Missing where it has not been learnt."""
        if self._cache is None:
            with table_errors():
                facts = self._store.facts(self.platform)
            if CACHE_FACT not in facts:
                raise Missing(facts=[CACHE_FACT])
            self._cache = facts[CACHE_FACT].value
        return self._cache

    def _null_time(self) -> float:
        """Time of a model that does nothing, microseconds; known wherever there are entries."""
        if self._null_us is None:
            with table_errors():
                null = self._store.null_time(self.platform)
            self._null_us = 0.0 if null is None else null.latency_us
        return self._null_us


def _latency(value_us: float) -> Cost:
    return Cost({"latency": Amount.of(Origin.MEASURED, value_us)})
