"""The devices that this host can name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapt.fleet import phones
from adapt.fleet.boards import boards

__all__ = ["Found", "reachable"]

# What adb calls them.
_STATES = {
    "device": "ready",
    "unauthorized": "waits for its prompt to be accepted",
    "no permissions": "this user may not use it: see its udev rules",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A device: its name for --device, how it is reached, and what is known without asking it."""

    name: str
    kind: str
    state: str
    about: str


def reachable(home: Path) -> list[Found]:
    """This machine, the devices with adb, and the boards enrolled in `home`.

    Boards are not asked whether they are there. Raises InputError for a damaged enrolment.
    """
    return [
        Found("local", "this machine", "ready", ""),
        *(Found(d.serial, "adb", _STATES.get(d.state, d.state), d.model) for d in phones.listed()),
        *(Found(board.name, "board", "enrolled", board.address) for board in boards(home)),
    ]
