"""Whether a device can measure, found out in the order in which it would fail.

First the link, then what the device's shell tells, then the agent itself: each step is tried for
real, and what prevents the next ones ends the list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from adapt.errors import AdaptError, Busy
from adapt.fleet.device import Device, MeasureOptions, ModelFile, Status
from adapt.fleet.doctor.checks import Finding, Verdict, findings
from adapt.fleet.doctor.facts import Facts, gather
from adapt.fleet.link import Link, Unauthorised
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel

__all__ = ["Facts", "Finding", "Verdict", "examine", "findings", "gather"]

# What a network is full of, small enough for any device.
KERNEL = (
    "CONV_2D(float32[1,16,16,16], const float32[32,3,3,16], const float32[32])"
    " -> float32[1,16,16,32]; dilation_h_factor=1, dilation_w_factor=1,"
    " fused_activation_function=NONE, padding=SAME, stride_h=1, stride_w=1"
)
KERNEL_MS = 20_000


def examine(
    open_link: Callable[[], Link], open_device: Callable[[Link], Device], folder: str
) -> Iterator[Finding]:
    """Findings about one device, as they are made.

    `open_device` starts the agent over the link, which it then owns; `folder` is where the device
    starts programs from.
    """
    try:
        link = open_link()
    except AdaptError as error:
        yield _refused("link", error)
        return
    try:
        yield Finding("link", Verdict.PASS, f"{link.serial} answers")
        seen = list(_shell_findings(link, folder))
        yield from seen
        if any(finding.verdict is Verdict.FAIL for finding in seen):
            return
        yield from _agent_findings(lambda: open_device(link))
    finally:
        link.close()


def _shell_findings(link: Link, folder: str) -> Iterator[Finding]:
    try:
        facts = gather(link, folder)
    except AdaptError as error:
        yield _refused("shell", error)
        return
    yield from findings(facts)


def _agent_findings(open_device: Callable[[], Device]) -> Iterator[Finding]:
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
    model = ModelFile("kernel", write_kernel(Kernel.parse(KERNEL)))
    outcome = device.measure([model], MeasureOptions(time_limit_ms=KERNEL_MS)).outcomes["kernel"]
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
