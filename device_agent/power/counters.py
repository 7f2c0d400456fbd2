"""Meters that count energy: the power rails of Pixel phones, and RAPL of x86 processors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_agent.files import MAX_TEXT, clean, folders, read_integer, read_line, read_text
from device_agent.power.meter import MeterError, Sample, Trace, counter_trace

# One line of energy_value: channel, milliseconds counted, rail, microwatt seconds.
_RAIL_LINE = re.compile(r"CH[0-9]{1,3}\(T=[0-9]{1,20}\)\[([A-Za-z0-9_]{1,64})\], *([0-9]{1,20})")
_STAMP_LINE = re.compile(r"t=[0-9]{1,20}")
# Rails of the clusters of CPU cores: S4M_VDD_CPUCL0, S3M_VDD_CPUCL1, S2M_VDD_CPUCL2 ...
_CPU_RAIL = "VDD_CPU"
MAX_RAILS = 64
RAIL_STEP_UJ = 1.0
# The usual energy unit of the registers, 2^-14 J, of which the counter is a multiple.
RAPL_STEP_UJ = 61.0
MAX_RANGE_UJ = 2**63
# Registers are refreshed every few milliseconds; the rest is the regulators' and the clocks'.
SETTLE_MS = 500


@dataclass(frozen=True, slots=True)
class Rails:
    """On-device power monitors of a Pixel phone: counters of single supply rails.

    They count what flows on to the chip, so that charging does not matter. `rails` names those of
    the CPU cores, by the file that counts them.
    """

    rails: tuple[tuple[Path, str], ...]

    @property
    def name(self) -> str:
        """Of the kind; there is one set of rails."""
        return "odpm"

    @property
    def covers(self) -> str:
        """The rails by name."""
        return clean("CPU rails " + ", ".join(rail for _, rail in self.rails))

    @property
    def settle_ms(self) -> int:
        """Until regulators and clocks have settled."""
        return SETTLE_MS

    def read(self) -> tuple[int, ...]:
        """Microwatt seconds of each rail."""
        known = {file: parse_rails(read_text(file)) for file, _ in self.rails}
        try:
            return tuple(known[file][rail] for file, rail in self.rails)
        except KeyError as error:
            raise MeterError(f"the rail {error} cannot be read") from error

    def objection(self) -> str:
        """Never one."""
        return ""

    def trace(self, samples: Sequence[Sample]) -> Trace:
        """The sum of the rails, which never begin again."""
        return counter_trace(samples, [0] * len(self.rails), RAIL_STEP_UJ)


def find_rails(root: Path) -> Rails | None:
    """The rails of the CPU cores; None where there are none, or none may be read."""
    rails = []
    for folder in folders(root / "sys/bus/iio/devices", r"iio:device\d+"):
        if "odpm" in read_line(folder / "name"):
            file = folder / "energy_value"
            found = parse_rails(read_text(file))
            rails += [(file, rail) for rail in sorted(found) if _CPU_RAIL in rail]
    return Rails(tuple(rails[:MAX_RAILS])) if rails else None


def parse_rails(text: str) -> dict[str, int]:
    """Microwatt seconds by rail, of an `energy_value` file; empty where that is no such file.

    A last line without its end may be cut short, and is left out.
    """
    stamp, *lines = text.splitlines(keepends=True) or [""]
    if not _STAMP_LINE.fullmatch(stamp.strip()):
        return {}
    matches = (_RAIL_LINE.fullmatch(line.strip()) for line in lines if line.endswith("\n"))
    return {match[1]: int(match[2]) for match in matches if match}


@dataclass(frozen=True, slots=True)
class Rapl:
    """The energy counters of all processor packages, which wrap around after their range."""

    zones: tuple[Path, ...]
    ranges_uj: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the kind; there is one for all packages."""
        return "rapl"

    @property
    def covers(self) -> str:
        """The packages by name."""
        names = ", ".join(read_line(zone / "name", MAX_TEXT) for zone in self.zones)
        return clean(f"processor {names}")

    @property
    def settle_ms(self) -> int:
        """Until regulators and clocks have settled."""
        return SETTLE_MS

    def read(self) -> tuple[int, ...]:
        """Microjoules of each package."""
        values = [read_integer(zone / "energy_uj") for zone in self.zones]
        if any(value is None or value < 0 for value in values):
            raise MeterError("RAPL cannot be read")
        return tuple(value for value in values if value is not None)

    def objection(self) -> str:
        """Never one."""
        return ""

    def trace(self, samples: Sequence[Sample]) -> Trace:
        """The sum of the packages."""
        return counter_trace(samples, self.ranges_uj, RAPL_STEP_UJ)


def find_rapl(root: Path) -> Rapl | None:
    """The packages' counters; None where there are none or, as for most users, none may be read.

    Parts of a package have zones below it, and it may have another in memory-mapped registers:
    both would count its energy twice.
    """
    zones, ranges = [], []
    for zone in folders(root / "sys/class/powercap", r"intel-rapl:\d+"):
        if read_line(zone / "name").startswith("package"):
            limit = read_integer(zone / "max_energy_range_uj")
            if limit is None or not 0 < limit <= MAX_RANGE_UJ:
                return None
            zones.append(zone)
            ranges.append(limit)
    rapl = Rapl(tuple(zones), tuple(ranges))
    try:
        return rapl if rapl.read() else None
    except MeterError:
        return None
