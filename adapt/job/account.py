"""What a job has spent, over all its sittings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict

__all__ = ["Account", "Ledger"]


class Account(BaseModel):
    """Seconds by phase, kernels measured, and networks timed whole for the search."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: dict[str, float] = {}
    kernels_measured: int = 0
    networks_measured: int = 0


class Ledger:
    """The account of a job as this sitting goes on."""

    def __init__(self) -> None:
        self._earlier = Account()
        self._seconds: dict[str, float] = {}
        self._kernels_measured = 0
        self._networks_measured = 0

    def resume(self, earlier: Account) -> None:
        """Count from what earlier sittings had spent by their last step.

        Of several journals, that which was written last says the most.
        """
        if sum(earlier.seconds.values()) >= sum(self._earlier.seconds.values()):
            self._earlier = earlier

    def measured(self, kernels: int = 0, networks: int = 0) -> None:
        """So many kernels more were measured, and networks timed whole."""
        self._kernels_measured += kernels
        self._networks_measured += networks

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time spent inside to `phase`, and take it from the phase around it."""
        started = time.monotonic()
        before = sum(self._seconds.values())
        try:
            yield
        finally:
            inner = sum(self._seconds.values()) - before
            spent = time.monotonic() - started - inner
            self._seconds[phase] = self._seconds.get(phase, 0.0) + spent

    @property
    def account(self) -> Account:
        """All sittings together."""
        seconds = dict(self._earlier.seconds)
        for phase, spent in self._seconds.items():
            seconds[phase] = round(seconds.get(phase, 0.0) + spent, 2)
        return Account(
            seconds=seconds,
            kernels_measured=self._earlier.kernels_measured + self._kernels_measured,
            networks_measured=self._earlier.networks_measured + self._networks_measured,
        )
