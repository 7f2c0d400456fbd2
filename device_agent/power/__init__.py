"""Energy meters of the device, each read from files below a root folder."""

from __future__ import annotations

from pathlib import Path

from device_agent.power.counters import find_rails, find_rapl
from device_agent.power.gauges import find_battery, find_inas
from device_agent.power.meter import FalsifiedError, Meter, MeterError, Sample, Trace
from device_agent.power.recorder import Recorder

__all__ = [
    "FalsifiedError",
    "Meter",
    "MeterError",
    "Recorder",
    "Sample",
    "Trace",
    "find_meters",
]


def find_meters(root: Path) -> tuple[Meter, ...]:
    """The meters that can be read, the best first.

    What is nearest to the cores and counts comes before what tells the power of more: its idle
    share is smaller, and so is the noise of all else.
    """
    found = (find_rails(root), find_rapl(root), *find_inas(root), find_battery(root))
    return tuple(meter for meter in found if meter is not None)
