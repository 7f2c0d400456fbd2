"""A device that may go away for a while: a pulled cable, a phone that reboots, a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from adapt.errors import DeviceError
from adapt.fleet.device import (
    Batch,
    Description,
    Device,
    Identity,
    MeasureOptions,
    ModelFile,
    Progress,
)
from adapt.fleet.link import Gone, LinkError, TimedOut, Unauthorised
from lookup_tables.kernel import Platform

__all__ = ["PATIENCE_SECONDS", "ReconnectingDevice"]

# How long a device may stay away in the middle of a measurement.
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 1.0
# A device that is lost so often within one call is of no use.
MAX_LOSSES = 5

Answer = TypeVar("Answer")


class ReconnectingDevice:
    """A Device that `connect` makes, anew when its link breaks; what was asked is asked again.

    `notify` gets a line for people whenever it goes away or comes back. Gone where it stays away
    for `patience_s`, or is not there in the first place; DeviceError where it comes back as
    another one.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Device],
        notify: Callable[[str], None],
        patience_s: float = PATIENCE_SECONDS,
    ) -> None:
        self._name = name
        self._connect = connect
        self._notify = notify
        self._patience_s = patience_s
        self._closed = False
        self._device: Device | None = connect()
        try:
            self._identity: Identity = self._device.describe().identity
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls the device."""
        return self._name

    def describe(self) -> Description:
        """Who the device is and what state it is in, asked now."""
        return self._insist(lambda device: self._recognised(device.describe()))

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        return self.describe().platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`; all of them again where the link breaks meanwhile."""
        return self._insist(lambda device: device.measure(models, options, on_progress))

    def close(self) -> None:
        """Let go of the device; may be called twice."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None

    def _insist(self, action: Callable[[Device], Answer]) -> Answer:
        if self._closed:
            raise DeviceError(f"{self._name} has been closed", "open the device again")
        for _ in range(MAX_LOSSES):
            device = self._device or self._reconnected()
            try:
                return action(device)
            except (Gone, TimedOut) as error:
                self._notify(f"{error.what}; waiting for {self._name} to come back")
                self._drop()
        raise Gone(f"{self._name} was lost {MAX_LOSSES} times in a row", "check cable and network")

    def _reconnected(self) -> Device:
        """The device, connected anew; Gone where it stays away."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                self._device = self._connect()
                now = self._recognised(self._device.describe()).identity
            except Unauthorised:
                self._drop()
                raise
            except LinkError as error:
                self._drop()
                if time.monotonic() >= deadline:
                    raise Gone(
                        f"{self._name} has been away for {self._patience_s:g} s: {error.what}",
                        error.todo,
                    ) from error
                time.sleep(RETRY_SECONDS)
            except BaseException:
                # The next call may not go to a device that was not recognised.
                self._drop()
                raise
            else:
                restarted = now.boot_id != self._identity.boot_id
                self._identity = now
                self._notify(f"{self._name} is back{', restarted' if restarted else ''}")
                return self._device

    def _recognised(self, description: Description) -> Description:
        """The same; DeviceError where measurements would be another platform's."""
        now = description.identity
        if _platform_facts(self._identity) != _platform_facts(now):
            self._drop()
            raise DeviceError(
                f"{self._name} is not what it was: {now.device_model}, {now.os_build}",
                "begin anew with the device as it is now",
            )
        return description


def _platform_facts(identity: Identity) -> tuple[str, ...]:
    return (
        identity.device_model,
        identity.soc,
        identity.os_build,
        identity.runtime_version,
        identity.runtime_build,
    )
