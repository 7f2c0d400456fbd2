"""Whether a device can measure, found out in the order in which it would fail.

First the link, then what the device's shell tells, then the agent itself: each step is tried for
real, and what prevents the next ones ends the list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from adapt.errors import AdaptError, Busy
from adapt.fleet.boards import boards
from adapt.fleet.bundle.install import ANDROID_FOLDER
from adapt.fleet.canary import CANARY_ID, canary_model
from adapt.fleet.claim import (
    BOARD_PREFIX,
    claimed,
    held,
    open_link,
    over_link,
    refuse_unknown,
)
from adapt.fleet.device import Device, MeasureOptions, Status
from adapt.fleet.doctor.checks import Finding, Verdict, findings
from adapt.fleet.facts import Facts, gather
from adapt.fleet.here import LocalLink
from adapt.fleet.link import Link, Unauthorised
from adapt.fleet.local import LocalDevice
from adapt.fleet.simulated import PREFIX

__all__ = ["Facts", "Finding", "Verdict", "diagnose", "examine", "findings", "gather"]

KERNEL_MS = 20_000


def diagnose(name: str, home: Path, agent_python: Path | None = None) -> Iterator[Finding]:
    """Findings about the device `name`, as they are made; the names are those of fleet.claim.

    Raises UsageError for a name that no device can have, Busy where somebody else measures on it.
    """
    refuse_unknown(name, home, agent_python)
    if name == "local":
        # Others can write where temporary files are, and a program is started from the folder.
        with held(name, home), TemporaryDirectory(prefix="adapt-doctor-") as folder:
            yield from examine(LocalLink, lambda link: LocalDevice(agent_python), folder)
    elif name.startswith((BOARD_PREFIX, PREFIX)) or name in {b.name for b in boards(home)}:
        # Nothing but the agent can be reached, and the claim starts it.
        with claimed(name, home=home) as device:
            yield from agent_findings(lambda: device)
    else:
        with held(name, home):
            yield from examine(
                lambda: open_link(name, home),
                lambda link: over_link(name, link, home, agent_python),
                ANDROID_FOLDER,
            )


def examine(
    connect: Callable[[], Link], start: Callable[[Link], Device], folder: str
) -> Iterator[Finding]:
    """Findings about the device that `connect` reaches, as they are made.

    `start` starts the agent over the link, which the device then owns; `folder` is where the
    device starts programs from.
    """
    try:
        link = connect()
    except AdaptError as error:
        yield _refused("link", error)
        return
    try:
        yield Finding("link", Verdict.PASS, f"{link.serial} answers")
        seen = list(_shell_findings(link, folder))
        yield from seen
        if not any(finding.verdict is Verdict.FAIL for finding in seen):
            yield from agent_findings(lambda: start(link))
    finally:
        link.close()


def _shell_findings(link: Link, folder: str) -> Iterator[Finding]:
    try:
        facts = gather(link, folder)
    except AdaptError as error:
        yield _refused("shell", error)
        return
    yield from findings(facts)


def agent_findings(open_device: Callable[[], Device]) -> Iterator[Finding]:
    """The agent starts, says who it is, and times a kernel."""
    begun = time.monotonic()
    try:
        device = open_device()
    except AdaptError as error:
        yield _refused("agent", error)
        return
    try:
        identity = device.describe().identity
        seconds = time.monotonic() - begun
        yield Finding(
            "agent",
            Verdict.PASS,
            f"{identity.runtime} {identity.runtime_version} [{identity.runtime_build[:8]}],"
            f" started in {seconds:.1f} s",
        )
        yield _kernel(device)
    except AdaptError as error:
        yield _refused("agent", error)
    finally:
        device.close()


def _kernel(device: Device) -> Finding:
    options = MeasureOptions(time_limit_ms=KERNEL_MS)
    outcome = device.measure([canary_model()], options).outcomes[CANARY_ID]
    if outcome.status in (Status.MEASURED, Status.NOT_CONVERGED) and outcome.windows:
        lows = sorted(window.low_us for window in outcome.windows)
        seen = f"{lows[0]:.1f} us for a small convolution"
        if outcome.status is Status.MEASURED:
            return Finding("kernel", Verdict.PASS, seen)
        spread = lows[-1] / lows[0] - 1
        return Finding(
            "kernel", Verdict.WARN, f"{seen}, +{spread:.0%} between windows", "make it quieter"
        )
    return Finding(
        "kernel", Verdict.FAIL, f"{outcome.status}: {outcome.detail}", "look at the agent's log"
    )


def _refused(check: str, error: AdaptError) -> Finding:
    """The error that ended a step, as a line of the list."""
    waiting = isinstance(error, Unauthorised)
    verdict = Verdict.WARN if isinstance(error, Busy) else Verdict.FAIL
    return Finding("authorisation" if waiting else check, verdict, error.what, error.todo)
