"""What an Android phone's own services say of heat and battery, asked through its shell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapt.fleet.link import Link

__all__ = ["Condition", "condition", "is_phone"]

ASK_SECONDS = 10.0
# Of Android's PowerManager: none, light, moderate, severe, critical, emergency, shutdown.
_STATUS = re.compile(r"^\s*Thermal Status: ([0-6])\s*$", re.MULTILINE)
_LEVEL = re.compile(r"^\s*level: (\d{1,3})\s*$", re.MULTILINE)
_POWERED = re.compile(r"^\s*(?:AC|USB|Wireless|Dock) powered: true\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a phone is.

    Attributes:
        thermal_status: 0 unless it throttles, up to 6; -1 where it does not tell.
        battery_percent: charge, -1 where it does not tell.
        powered: whether anything charges it.
    """

    thermal_status: int = -1
    battery_percent: int = -1
    powered: bool = False


def is_phone(link: Link) -> bool:
    """Whether Android runs on the device; raises the errors of the link."""
    return "ro.build.version.release" in link.properties()


def condition(link: Link) -> Condition:
    """Ask the phone behind `link`; raises the errors of the link."""
    heat = _said(link, "thermalservice")
    battery = _said(link, "battery")
    status, level = _STATUS.search(heat), _LEVEL.search(battery)
    percent = int(level[1]) if level else -1
    return Condition(
        thermal_status=int(status[1]) if status else -1,
        battery_percent=percent if percent <= 100 else -1,
        powered=_POWERED.search(battery) is not None,
    )


def _said(link: Link, service: str) -> str:
    done = link.shell(["dumpsys", service], timeout_s=ASK_SECONDS)
    return done.stdout.decode(errors="replace") if done.exit_code == 0 else ""
