"""Hot and cold times of kernels: measured, kept from earlier prices, interpolated or analytic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapt.cost.analytic import Analytic, Column
from adapt.cost.answer import Answer
from adapt.cost.base import Origin
from adapt.cost.interpolation import Guesses, Quantity
from adapt.cost.opening import table_errors
from adapt.errors import DeviceError
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import Entry
from lookup_tables.store import Store

__all__ = ["Times"]


class Times:
    """Times on one platform, each read once and then the same.

    `guesses` interpolates what the table lacks, `analytic` tells what is left. `hot` and `cold`
    hold what has been read.
    """

    def __init__(
        self,
        store: Store,
        platform: Platform,
        guesses: Guesses | None = None,
        analytic: Analytic | None = None,
    ) -> None:
        self.hot: dict[Kernel, Answer] = {}
        self.cold: dict[Kernel, Answer] = {}
        self._store, self._platform = store, platform
        self._guesses, self._analytic = guesses, analytic

    def read_hot(self, kernels: Sequence[Kernel]) -> None:
        """Read the hot times of those of `kernels` that have one, and their cold ones beside."""
        unread = [kernel for kernel in kernels if kernel not in self.hot]
        if not unread:
            return
        self.hot.update(self._kept(Quantity.HOT, unread))
        with table_errors():
            entries = self._store.entries(self._platform, unread)
        for kernel, entry in entries.items():
            answer = Answer(entry.latency_us, entry.relative_error, source=entry.source)
            self.hot.setdefault(kernel, answer)
            self._take_cold(kernel, entry)
        self.hot.update(self._guessed(Quantity.HOT, unread, self.hot))
        self.hot.update(self._told(Column.HOT, [k for k in unread if k not in self.hot]))

    def read_cold(self, kernels: Sequence[Kernel]) -> None:
        """Read the cold times of those of `kernels` that have one; the hot where there never is."""
        unread = [kernel for kernel in kernels if kernel not in self.cold]
        if not unread:
            return
        self.cold.update(self._kept(Quantity.COLD, unread))
        with table_errors():
            entries = self._store.entries(self._platform, unread)
            hopeless = self._store.never_cold(self._platform)
        for kernel, entry in entries.items():
            self._take_cold(kernel, entry)
            if kernel in hopeless:
                self.cold[kernel] = self.hot[kernel]
        self.cold.update(self._guessed(Quantity.COLD, unread, self.cold))
        # A hot time that is better known than that stands for what lacks, as it would anyway.
        hopeful = [k for k in unread if k in self.hot and self.hot[k].origin is Origin.ANALYTIC]
        self.cold.update(self._told(Column.COLD, [k for k in hopeful if k not in self.cold]))

    def withdraw(self) -> None:
        """Forget what was interpolated since the last price."""
        if self._guesses is not None:
            for quantity, kernel in self._guesses.withdraw():
                (self.hot if quantity == Quantity.HOT else self.cold).pop(kernel, None)

    def refuse_poisonous(self, kernels: Sequence[Kernel]) -> None:
        """Raise DeviceError if one of `kernels` is not to be asked for again."""
        if not kernels:
            return
        with table_errors():
            poisonous = self._store.quarantined(self._platform)
        for kernel in kernels:
            if kernel in poisonous:
                verdict = poisonous[kernel]
                raise DeviceError(
                    f"{self._platform} cannot run this kernel ({verdict.reason}"
                    f" {verdict.detail}): {kernel}",
                    "Use another backend or device, or keep the layer that it comes from as it is.",
                )

    def _take_cold(self, kernel: Kernel, entry: Entry) -> None:
        if entry.cold_us is not None and not self._kept(Quantity.COLD, [kernel]):
            self.cold[kernel] = Answer(entry.cold_us, entry.cold_error or 0.0)

    def _kept(self, quantity: Quantity, kernels: Sequence[Kernel]) -> dict[Kernel, Answer]:
        """What earlier prices were made of, which goes before what was measured since."""
        return {} if self._guesses is None else self._guesses.kept(quantity, kernels)

    def _guessed(
        self, quantity: Quantity, kernels: Sequence[Kernel], known: Mapping[Kernel, Answer]
    ) -> dict[Kernel, Answer]:
        """Interpolated answers for those of `kernels` that are not `known` and can be run."""
        unknown = [kernel for kernel in kernels if kernel not in known]
        if self._guesses is None or not unknown:
            return {}
        with table_errors():
            poisonous = self._store.quarantined(self._platform)
            return self._guesses.made(quantity, [k for k in unknown if k not in poisonous])

    def _told(self, column: Column, kernels: Sequence[Kernel]) -> dict[Kernel, Answer]:
        """Analytic answers for those of `kernels` that can be run."""
        if self._analytic is None or not kernels:
            return {}
        with table_errors():
            poisonous = self._store.quarantined(self._platform)
            told = self._analytic.estimates(column, [k for k in kernels if k not in poisonous])
        return {
            kernel: Answer(each.value, each.relative_error, origin=Origin.ANALYTIC)
            for kernel, each in told.items()
        }
