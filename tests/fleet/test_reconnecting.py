"""A device that comes back: whether it was restarted, and whether it is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from adapt.errors import DeviceError
from adapt.fleet.canary import CANARY_ID, canary_model
from adapt.fleet.device import Batch, Description, Device, MeasureOptions, ModelFile, Progress
from adapt.fleet.link import Gone
from adapt.fleet.local import LocalDevice
from adapt.fleet.reconnecting import ReconnectingDevice


class Lost(LocalDevice):
    """This machine, on whose first batch the cable is pulled; `changed` is what it then says."""

    def __init__(self, **changed: str) -> None:
        super().__init__()
        self._changed = changed

    def describe(self) -> Description:
        said = super().describe()
        return replace(said, identity=replace(said.identity, **self._changed))

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        if not self._changed:
            raise Gone("the cable was pulled", "plug it in")
        return super().measure(models, options, on_progress)


def reconnecting(said: list[str], **changed: str) -> ReconnectingDevice:
    """A device that is lost once, and comes back with something changed."""
    devices: list[Device] = [Lost(**changed), Lost()]
    return ReconnectingDevice("phone", devices.pop, said.append)


def test_a_restart_is_said() -> None:
    said: list[str] = []
    device = reconnecting(said, boot_id="another")
    batch = device.measure([canary_model()], MeasureOptions(time_limit_ms=10_000))
    device.close()
    assert set(batch.outcomes) == {CANARY_ID}
    assert said[-1] == "phone is back, restarted"


def test_a_cable_is_no_restart() -> None:
    said: list[str] = []
    device = reconnecting(said, agent_version="0.1.0")
    device.measure([canary_model()], MeasureOptions(time_limit_ms=10_000))
    device.close()
    assert said[-1] == "phone is back"


def test_another_system_is_another_platform() -> None:
    device = reconnecting([], os_build="updated")
    with pytest.raises(DeviceError, match="is not what it was"):
        device.measure([canary_model()], MeasureOptions())
    device.close()
