"""Opening a device by its name, for one user at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from adapt.errors import UsageError
from adapt.fleet import phones
from adapt.fleet.boards import boards
from adapt.fleet.device import Device
from adapt.fleet.local import LocalDevice
from adapt.fleet.reconnecting import ReconnectingDevice
from adapt.fleet.remote import RemoteDevice
from adapt.fleet.simulated import PREFIX, SimulatedDevice, profile_file
from adapt.locks import locked

__all__ = ["claimed", "refuse_unknown"]

BOARD_PREFIX = "tcp:"


@contextmanager
def claimed(name: str, *, home: Path, agent_python: Path | None = None) -> Iterator[Device]:
    """The device `name`, which nobody else measures on meanwhile; `home` keeps locks and keys.

    A name is "local", "simulated:PROFILE", that of an enrolled board or its "tcp:HOST:PORT", or a
    serial number of adb's. `agent_python` runs the agent: on this machine by default the
    interpreter that runs this, on a device with adb a Python of the device's. Raises UsageError for
    a name that is not known, Busy where somebody else holds the device, DeviceError where it
    cannot be opened.
    """
    name, connect = _way_to(name, home, agent_python)
    # Names of network devices hold colons, and nobody keeps a slash from others.
    with locked(home / "locks" / f"{quote(name, safe='')}.lock", f"the device {name}"):
        device = connect() if name == "local" else ReconnectingDevice(name, connect, _say)
        try:
            yield device
        finally:
            device.close()


def refuse_unknown(name: str, home: Path, agent_python: Path | None) -> None:
    """UsageError for a device that cannot be, without opening it."""
    _way_to(name, home, agent_python)


def _way_to(name: str, home: Path, agent_python: Path | None) -> tuple[str, Callable[[], Device]]:
    """What the device is called, and how to connect to it."""
    if name == "local":
        return name, lambda: LocalDevice(agent_python)
    if name.startswith(PREFIX):
        profile = profile_file(name.removeprefix(PREFIX))
        return name, lambda: SimulatedDevice(name, profile)
    for board in boards(home):
        if name in (board.name, BOARD_PREFIX + board.address):
            return board.name, board.connect
    if name.startswith(BOARD_PREFIX):
        raise UsageError(
            f"no board {name.removeprefix(BOARD_PREFIX)} is enrolled",
            "Make its certificates with `adapt devices enroll`.",
        )
    if agent_python is None:
        raise UsageError(
            f"no device {name!r} of which this host knows how to start the agent",
            "For a device with adb say with --agent-python which Python on it has the agent;"
            " `adapt devices` lists all devices.",
        )
    command = [str(agent_python), "-s", "-m", "device_agent"]

    def connect() -> Device:
        return RemoteDevice(name, phones.open_link(name, home, _prompt(name)), command)

    return name, connect


def _prompt(name: str) -> Callable[[], None]:
    return lambda: _say(f"accept the prompt `Allow USB debugging?` on {name}")


def _say(line: str) -> None:
    print(f"adapt: {line}", file=sys.stderr)
