"""Measuring on somebody's phone: only while it is cool and charged, and only what held its clocks.

A batch goes out with the canary. Where that has become slower than at first, the batch is not
believed: the phone rests, and the batch is measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from adapt.errors import DeviceError
from adapt.fleet.canary import CANARY_ID, MAX_DRIFT, Canary, canary_model
from adapt.fleet.device import (
    Batch,
    Description,
    Device,
    MeasureOptions,
    ModelFile,
    Progress,
    State,
)
from adapt.fleet.phone import Condition
from lookup_tables.kernel import Platform

__all__ = ["GuestDevice"]

# Models that one canary stands for: some seconds of measuring, after which phones begin to warm.
CANARY_EVERY = 64
# Below it phones save energy by slowing down.
LEAST_BATTERY = 15
REST_SECONDS = 15.0
# A phone that throttles still after this long lies in the sun or in its case.
COOLING_SECONDS = 300.0
MAX_TRIES = 4


class GuestDevice:
    """A Device on a phone, which it closes; `ask` tells the phone's condition, `notify` people.

    `canary` is kept by the caller for as long as it measures on this phone. `measure` raises
    DeviceError where the battery is low, or the phone stays hot or unsteady.
    """

    def __init__(
        self,
        device: Device,
        ask: Callable[[], Condition],
        canary: Canary,
        notify: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._device = device
        self._ask = ask
        self._canary = canary
        self._notify = notify
        self._sleep = sleep

    @property
    def name(self) -> str:
        """What the user calls the phone."""
        return self._device.name

    def describe(self) -> Description:
        """Who the phone is and what state it is in; its limits leave room for the canary."""
        said = self._device.describe()
        room = min(CANARY_EVERY, said.limits.max_models - 1)
        return replace(said, limits=replace(said.limits, max_models=room))

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        return self._device.platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`, until the phone was steady from their beginning to their end."""
        for _ in range(MAX_TRIES):
            before = self._fit()
            if options.energy_ms:
                # Under the meter the canary would take seconds of its own: it goes ahead.
                batch = self._device.measure([canary_model()], replace(options, energy_ms=0))
            else:
                batch = self._device.measure([*models, canary_model()], options, on_progress)
            drift = self._canary.drift(batch.outcomes[CANARY_ID], options)
            if drift is not None and drift <= MAX_DRIFT:
                if options.energy_ms:
                    batch = self._device.measure(models, options, on_progress)
                return self._finished(batch, before)
            seen = "unsteady" if drift is None else f"{drift:.0%} slower than at first"
            self._notify(f"{self.name} is {seen}: it rests, then measures the batch again")
            self._sleep(REST_SECONDS)
        raise DeviceError(
            f"{self.name} does not hold its speed",
            "let it cool and close what runs on it; `adapt doctor` says more",
        )

    def close(self) -> None:
        """Let go of the phone; may be called twice."""
        self._device.close()

    def _fit(self) -> Condition:
        """Wait until the phone is cool; its condition then. DeviceError where it stays hot."""
        waited = 0.0
        while True:
            now = self._ask()
            if 0 <= now.battery_percent < LEAST_BATTERY:
                raise DeviceError(
                    f"the battery of {self.name} is at {now.battery_percent} %",
                    f"charge it to {LEAST_BATTERY} % and go on",
                )
            if now.thermal_status <= 0:
                return now
            if waited >= COOLING_SECONDS:
                raise DeviceError(
                    f"{self.name} throttles still after {waited:g} s of rest"
                    f" (status {now.thermal_status} of 6)",
                    "let it cool: out of its case, off the charger, out of the sun",
                )
            if waited == 0:
                self._notify(f"{self.name} is hot and rests")
            self._sleep(REST_SECONDS)
            waited += REST_SECONDS

    def _finished(self, batch: Batch, before: Condition) -> Batch:
        outcomes = {id: outcome for id, outcome in batch.outcomes.items() if id != CANARY_ID}
        return replace(
            batch,
            outcomes=outcomes,
            before=_noted(batch.before, before),
            after=_noted(batch.after, self._ask()),
        )


def _noted(state: State, condition: Condition) -> State:
    return replace(
        state,
        thermal_status=condition.thermal_status,
        battery_percent=condition.battery_percent,
    )
