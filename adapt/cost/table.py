"""Latency from a lookup table: the sum of what the kernels took when measured one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adapt.cost.base import Amount, Cost, Missing, Origin
from adapt.errors import Busy, DeviceError, TableError
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
    and that time once. Entries are read once and kept: one object gives one price for a kernel for
    as long as it lives, whatever is measured meanwhile.
    """

    resources: frozenset[str] = frozenset({"latency"})

    def __init__(self, store: Store, platform: Platform) -> None:
        self.platform = platform
        self._store = store
        self._times: dict[Kernel, float] = {}
        self._null_us: float | None = None

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Latency of the network; raises Missing, or DeviceError for a quarantined kernel."""
        times = self._known(kernels)
        return _latency(math.fsum((*times, self._null_time())))

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Latency that each kernel adds; raises as `price` does."""
        return [_latency(time) for time in self._known(kernels)]

    def _known(self, kernels: Sequence[Kernel]) -> list[float]:
        times = self._times
        try:
            return [times[kernel] for kernel in kernels]
        except KeyError:
            self._fetch([kernel for kernel in kernels if kernel not in times])
        return [times[kernel] for kernel in kernels]

    def _fetch(self, kernels: Sequence[Kernel]) -> None:
        """Read `kernels` from the store; raise Missing for those that it lacks."""
        with table_errors():
            entries = self._store.entries(self.platform, kernels)
            self._times.update((kernel, entry.latency_us) for kernel, entry in entries.items())
            missing = [kernel for kernel in kernels if kernel not in entries]
            poisonous = self._store.quarantined(self.platform) if missing else {}
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

    def _null_time(self) -> float:
        """Time of a model that does nothing, microseconds; known wherever there are entries."""
        if self._null_us is None:
            with table_errors():
                null = self._store.null_time(self.platform)
            self._null_us = 0.0 if null is None else null.latency_us
        return self._null_us


def _latency(value_us: float) -> Cost:
    return Cost({"latency": Amount.of(Origin.MEASURED, value_us)})
