"""Opening a device by its name, for one user at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

from adapt.errors import UsageError
from adapt.fleet import phones
from adapt.fleet.benchmark import Benchmark
from adapt.fleet.benchmark.device import BenchmarkDevice
from adapt.fleet.boards import boards
from adapt.fleet.bundle import bundled, install
from adapt.fleet.bundle.install import ANDROID_FOLDER
from adapt.fleet.canary import Canary
from adapt.fleet.device import Device
from adapt.fleet.guest import GuestDevice
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Link
from adapt.fleet.local import LocalDevice
from adapt.fleet.phone import condition, is_phone
from adapt.fleet.reconnecting import ReconnectingDevice
from adapt.fleet.remote import RemoteDevice
from adapt.fleet.simulated import PREFIX, SimulatedDevice, profile_file
from adapt.locks import locked

__all__ = ["Claims", "claimed", "held", "open_link", "over_link", "refuse_unknown"]

BOARD_PREFIX = "tcp:"


@contextmanager
def claimed(
    name: str,
    *,
    home: Path,
    agent_python: Path | None = None,
    benchmark: Benchmark | None = None,
) -> Iterator[Device]:
    """The device `name`, which nobody else measures on meanwhile; `home` keeps locks and keys.

    A name is "local", "simulated:PROFILE", that of an enrolled board or its "tcp:HOST:PORT", or a
    serial number of adb's. `agent_python` runs the agent: on this machine by default the
    interpreter that runs this, on a device with adb by default that of the bundle. With
    `benchmark` that program measures, and no agent is started. Raises UsageError for a name that is
    not known, Busy where somebody else holds the device, DeviceError where it cannot be opened.
    """
    with ExitStack() as stack:
        yield Claims(home, stack).device(name, agent_python, benchmark)


class Claims:
    """Devices by name, all of them this process's alone until `stack` is closed."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._home, self._stack = home, stack
        self._held: set[str] = set()
        self._open: dict[tuple[str, Path | None, Benchmark | None], Device] = {}

    def device(
        self, name: str, agent_python: Path | None = None, benchmark: Benchmark | None = None
    ) -> Device:
        """As of `claimed`; the same one again for those that ask for the same."""
        name, connect = _way_to(name, self._home, agent_python, benchmark)
        if name not in self._held:
            self._stack.enter_context(held(name, self._home))
            self._held.add(name)
        way = (name, agent_python, benchmark)
        if way not in self._open:
            device = connect() if name == "local" else ReconnectingDevice(name, connect, _say)
            self._stack.callback(device.close)
            self._open[way] = device
        return self._open[way]


def held(name: str, home: Path) -> AbstractContextManager[None]:
    """The device is this process's alone; Busy where another one has it."""
    # Names of network devices hold colons, and nobody keeps a slash from others.
    return locked(home / "locks" / f"{quote(name, safe='')}.lock", f"the device {name}")


def refuse_unknown(name: str, home: Path, agent_python: Path | None) -> None:
    """UsageError for a device that cannot be, without opening it."""
    _way_to(name, home, agent_python)


def _way_to(
    name: str, home: Path, agent_python: Path | None, benchmark: Benchmark | None = None
) -> tuple[str, Callable[[], Device]]:
    """What the device is called, and how to connect to it."""
    if name == "local":
        if benchmark is not None:
            return name, lambda: BenchmarkDevice(name, LocalLink(), benchmark, str(home))
        return name, lambda: LocalDevice(agent_python)
    if name.startswith(PREFIX):
        _refuse_benchmark(name, benchmark)
        profile = profile_file(name.removeprefix(PREFIX))
        return name, lambda: SimulatedDevice(name, profile)
    for board in boards(home):
        if name in (board.name, BOARD_PREFIX + board.address):
            _refuse_benchmark(name, benchmark)
            return board.name, board.connect
    if name.startswith(BOARD_PREFIX):
        raise UsageError(
            f"no board {name.removeprefix(BOARD_PREFIX)} is enrolled",
            "Make its certificates with `adapt devices enroll`.",
        )
    if agent_python is None and not phones.can_be(name):
        raise UsageError(
            f"no device {name!r} is known or plugged in",
            "`adapt devices` lists all devices; local is this machine, eyeriss a model of a chip"
            " (`adapt run` and `adapt predict` go by it with no device).",
        )
    return name, _over_adb(name, home, agent_python, benchmark)


def _refuse_benchmark(name: str, benchmark: Benchmark | None) -> None:
    if benchmark is not None:
        raise UsageError(f"{name} has no shell", "Use benchmark_model locally or over adb.")


def _over_adb(
    name: str, home: Path, agent_python: Path | None, benchmark: Benchmark | None
) -> Callable[[], Device]:
    """How to connect to a device with adb; on a phone what measures is a guest."""
    canary = Canary()

    def connect() -> Device:
        link = open_link(name, home)
        try:
            # Before anything runs on the device that an error of the link would leave there.
            guest = is_phone(link)
        except BaseException:
            link.close()
            raise
        if benchmark is not None:
            device: Device = BenchmarkDevice(name, link, benchmark, ANDROID_FOLDER)
        else:
            device = over_link(name, link, home, agent_python)
        if not guest:
            return device
        return GuestDevice(device, lambda: condition(link), canary, _say)

    return connect


def open_link(name: str, home: Path) -> Link:
    """A link to this machine or to a device with adb; raises LinkError and its kinds."""
    return LocalLink() if name == "local" else phones.open_link(name, home, _prompt(name))


def over_link(name: str, link: Link, home: Path, agent_python: Path | None) -> Device:
    """The device behind `link`, which it owns from now on, also where this raises.

    Its agent is run by `agent_python`, a Python of the device's, or else comes with the bundle,
    which is made and pushed where it is not there. Raises DeviceError and InputError where that
    cannot be done.
    """
    try:
        if agent_python is not None:
            command = [str(agent_python), "-s", "-m", "device_agent"]
        else:
            command = install(link, bundled(home, say=_say))
    except BaseException:
        link.close()
        raise
    return RemoteDevice(name, link, command)


def _prompt(name: str) -> Callable[[], None]:
    return lambda: _say(f"accept the prompt `Allow USB debugging?` on {name}")


def _say(line: str) -> None:
    print(f"adapt: {line}", file=sys.stderr)
