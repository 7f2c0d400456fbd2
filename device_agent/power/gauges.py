"""Meters that tell power: the gauge of a battery, and INA219/226 chips on a supply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_agent.files import clean, folders, read_integer, read_line
from device_agent.power.meter import (
    FalsifiedError,
    MeterError,
    Sample,
    Trace,
    meter_name,
    power_trace,
    smallest_step,
)

# Documented in microvolts and microamperes, told in thousandths by some vendors. No battery has
# less than 1 V or more than 1000 V ...
LEAST_MICROVOLTS = 1_000_000
LEAST_MILLIVOLTS = 1_000
MOST_MICROVOLTS = 1_000_000_000
# ... and a device that computes draws more than 10 mA, and less than 10 A.
LEAST_MICROAMPERES = 10_000
# Gauges average over seconds.
BATTERY_SETTLE_MS = 3_000
INA_SETTLE_MS = 500


@dataclass(frozen=True, slots=True)
class Battery:
    """The gauge of the device's battery, right only where nothing but the battery supplies it.

    Vendors differ in the sign of a current that discharges. It is learnt: while the status says
    "Discharging" and no charger is there, whichever sign there is means that. `supplies` are the
    other supplies: mains, USB, wireless.
    """

    folder: Path
    supplies: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The supply's name with its kind."""
        return meter_name(f"battery {self.folder.name}")

    @property
    def covers(self) -> str:
        """All that the battery supplies."""
        return "whole device"

    @property
    def settle_ms(self) -> int:
        """Over how long the gauge averages."""
        return BATTERY_SETTLE_MS

    def read(self) -> tuple[int, ...]:
        """Current and voltage as the vendor tells them."""
        current = read_integer(self.folder / "current_now")
        voltage = read_integer(self.folder / "voltage_now")
        if current is None or voltage is None:
            raise MeterError("the battery gauge cannot be read")
        return current, voltage

    def objection(self) -> str:
        """That a charger is there, or that the battery does not say it is discharging."""
        for supply in self.supplies:
            if read_line(supply / "online") not in ("", "0"):
                return f"{clean(supply.name)} supplies power: unplug it, and link over the network"
        status = read_line(self.folder / "status")
        if status.casefold() != "discharging":
            return f"the battery is not discharging: its status is {status or 'unknown'}"
        return ""

    def trace(self, samples: Sequence[Sample]) -> Trace:
        """Power from current and voltage, in the units that they turn out to have."""
        currents = [sample.values[0] for sample in samples]
        if any(c > 0 for c in currents) and any(c < 0 for c in currents):
            raise FalsifiedError("the battery's current changed its direction meanwhile")
        largest = max(map(abs, currents), default=0)
        if largest == 0:
            raise MeterError("the battery gauge tells no current")
        microamperes = 1_000 if largest < LEAST_MICROAMPERES else 1
        volts = [_volts(sample.values[1]) for sample in samples]
        powers = [
            abs(current) * microamperes * volt / 1e3
            for current, volt in zip(currents, volts, strict=True)
        ]
        step_mw = smallest_step(currents) * microamperes * max(volts) / 1e3
        return power_trace(samples, powers, step_mw)


def _volts(told: int) -> float:
    """Volts of a voltage told in microvolts or millivolts; MeterError for neither."""
    if LEAST_MICROVOLTS <= told <= MOST_MICROVOLTS:
        return told / 1e6
    if LEAST_MILLIVOLTS <= told < LEAST_MICROVOLTS:
        return told / 1e3
    raise MeterError(f"the battery gauge tells a voltage of {told}")


def find_battery(root: Path) -> Battery | None:
    """The first battery of the device with a gauge; None where there is none.

    Those of mice and pens are batteries too, of scope "Device".
    """
    batteries, supplies = [], []
    for folder in folders(root / "sys/class/power_supply", ".+"):
        if read_line(folder / "type") != "Battery":
            supplies.append(folder)
        elif read_line(folder / "scope") != "Device":
            batteries.append(folder)
    for folder in batteries:
        battery = Battery(folder, tuple(supplies))
        try:
            _volts(battery.read()[1])
        except MeterError:
            continue
        return battery
    return None


@dataclass(frozen=True, slots=True)
class Ina:
    """An INA219, INA226 or relative on a supply line, as its hwmon driver tells: microwatts."""

    folder: Path
    name: str

    @property
    def covers(self) -> str:
        """Whatever is wired behind its shunt."""
        return "what flows through its shunt"

    @property
    def settle_ms(self) -> int:
        """Until regulators and clocks have settled; the chip averages over less."""
        return INA_SETTLE_MS

    def read(self) -> tuple[int, ...]:
        """Microwatts."""
        power = read_integer(self.folder / "power1_input")
        if power is None:
            raise MeterError(f"{self.name} cannot be read")
        return (power,)

    def objection(self) -> str:
        """Never one."""
        return ""

    def trace(self, samples: Sequence[Sample]) -> Trace:
        """Its power, integrated."""
        readings = [sample.values[0] for sample in samples]
        return power_trace(samples, [r / 1e3 for r in readings], smallest_step(readings) / 1e3)


def find_inas(root: Path) -> list[Ina]:
    """The chips that can be read."""
    found = []
    for folder in folders(root / "sys/class/hwmon", r"hwmon\d+"):
        chip = read_line(folder / "name")
        if chip.startswith("ina2") and read_integer(folder / "power1_input") is not None:
            found.append(Ina(folder, meter_name(f"{chip} {_place(folder)}")))
    return found


def _place(folder: Path) -> str:
    """What tells one chip from another: the board's label, or its address on the bus.

    Numbers of hwmon folders change from boot to boot; they are the last resort.
    """
    device = folder / "device"
    address = device.resolve().name if device.is_symlink() else folder.name
    return read_line(folder / "label") or address
