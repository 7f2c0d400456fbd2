"""Opening a device by its name, for one user at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapt.errors import UsageError
from adapt.fleet.local import LocalDevice
from adapt.locks import locked

__all__ = ["claimed"]


@contextmanager
def claimed(name: str, *, home: Path, agent_python: Path | None = None) -> Iterator[LocalDevice]:
    """The device `name`, which nobody else measures on meanwhile; `home` keeps the locks.

    `agent_python` runs the agent, by default the interpreter that runs this. Raises UsageError for
    a name that is not known, Busy where somebody else holds the device, DeviceError where it
    cannot be opened.
    """
    if name != "local":
        raise UsageError(
            f"no device {name!r}", "The devices of this version: local (this machine)."
        )
    with locked(home / "locks" / "local.lock", "the device local"):
        device = LocalDevice(agent_python)
        try:
            yield device
        finally:
            device.close()
