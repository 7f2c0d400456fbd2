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
    another = {"os_build": "updated"}
    devices: list[Device] = [Lost(**another), Lost(**another), Lost()]
    device = ReconnectingDevice("phone", devices.pop, lambda line: None)
    for left in (1, 0):
        # Nor is it measured by the next call.
        with pytest.raises(DeviceError, match="is not what it was"):
            device.measure([canary_model()], MeasureOptions())
        assert len(devices) == left
    device.close()


class Updated(Lost):
    """This machine, which gets another system after the first description."""

    def describe(self) -> Description:
        said = super().describe()
        self._changed = {"os_build": "updated"}
        return said


def test_a_device_that_becomes_another_one_is_let_go() -> None:
    devices: list[Device] = [Lost(os_build="updated"), Updated()]
    device = ReconnectingDevice("phone", devices.pop, lambda line: None)
    for _ in range(2):
        with pytest.raises(DeviceError, match="is not what it was"):
            device.describe()
    assert not devices
    device.close()


class Mute(Lost):
    """This machine, which cannot say who it is."""

    def describe(self) -> Description:
        raise DeviceError("it makes no sense", "look at its version")


def test_a_device_that_does_not_say_who_it_is_is_not_measured() -> None:
    devices: list[Device] = [Lost(agent_version="0.1.0"), Mute(os_build="another"), Lost()]
    device = ReconnectingDevice("phone", devices.pop, lambda line: None)
    with pytest.raises(DeviceError, match="makes no sense"):
        device.measure([canary_model()], MeasureOptions())
    batch = device.measure([canary_model()], MeasureOptions(time_limit_ms=10_000))
    device.close()
    assert set(batch.outcomes) == {CANARY_ID}
    assert not devices
