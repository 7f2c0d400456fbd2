"""A simulated agent as a Device."""

from __future__ import annotations

from pathlib import Path

from adapt.errors import DeviceError
from adapt.fleet.link import Gone
from adapt.fleet.local import LocalDevice

__all__ = ["SimulatedDevice"]


class SimulatedDevice(LocalDevice):
    """A process of its own that simulates the device of a profile; `name` is the user's word."""

    MODULE = "adapt.fleet.simulated"

    def __init__(self, name: str, profile: Path) -> None:
        self._name = name
        super().__init__(arguments=["--profile", str(profile)])

    def _post_mortem(self, error: DeviceError) -> DeviceError:
        """A simulated device that ended is one that was unplugged: it may come back."""
        found = super()._post_mortem(error)
        return error if found is error else Gone(found.what, found.todo)

    @property
    def name(self) -> str:
        """What the user calls the device."""
        return self._name
