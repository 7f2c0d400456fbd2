"""However a link breaks, nothing that waits for it lasts longer than a user's patience.

With the bounds that users have; `test_faults.py` shortens them to try more.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapt.errors import DeviceError
from adapt.fleet.device import MeasureOptions, ModelFile
from adapt.fleet.link import Link, LinkError
from adapt.fleet.remote import RemoteDevice
from tests.fleet.adb import lab

# Ten seconds without a byte, and what it takes to notice and to give up.
BOUND_SECONDS = 15.0
# Takes the link for longer than any test lasts.
BUSY = MeasureOptions(
    target_relative_error=0.0005, max_windows=200, window_us=1_000_000, time_limit_ms=60_000
)
LONG = "ADAPT_LONG" in os.environ
FAULTS = {
    "closed": lambda proxy: proxy.cut(),
    "cut in a packet to the host": lambda proxy: proxy.spoil("host", 10),
    "cut in a packet to the device": lambda proxy: proxy.spoil("device", 10),
    "silent to the host": lambda proxy: proxy.spoil("host", silent=True),
    "silent to the device": lambda proxy: proxy.spoil("device", silent=True),
    "silent in a packet to the host": lambda proxy: proxy.spoil("host", 10, silent=True),
}
ALWAYS = ("closed", "cut in a packet to the host", "silent to the host", "silent to the device")


@dataclass
class Operation:
    """Something in a thread of its own, which a hang does not keep the test from failing."""

    name: str
    action: Callable[[], object]
    error: BaseException | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=self._work, name=self.name, daemon=True).start()

    def _work(self) -> None:
        try:
            self.action()
        except BaseException as error:
            self.error = error
        self.over.set()


def within(deadline: float, operations: list[Operation]) -> None:
    """All end before `deadline`, of time.monotonic."""
    for operation in operations:
        operation.over.wait(max(deadline - time.monotonic(), 0))
    assert [o.name for o in operations if not o.over.is_set()] == []


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No agent is left behind, and none was."""
    assert lab.agents() == set()
    yield
    lab.until(lambda: lab.agents() == set(), BOUND_SECONDS)


@pytest.mark.parametrize("fault", FAULTS if LONG else ALWAYS)
def test_everything_ends_in_time_with_an_error(
    spoilt: Callable[[], Link], proxy: lab.Proxy, fault: str, small_model: bytes, tmp_path: Path
) -> None:
    link = spoilt()
    device = RemoteDevice("phone", link, lab.AGENT)
    waiting = link.open_stream("shell,v2,raw:cat")
    large, remote = tmp_path / "large", str(tmp_path / "remote")
    large.write_bytes(os.urandom(4 << 20))
    sending, measuring = threading.Event(), threading.Event()
    begun = [
        Operation(
            "measure",
            lambda: device.measure(
                [ModelFile("a", small_model)], BUSY, lambda progress: measuring.set()
            ),
        ),
        Operation("program", lambda: link.shell(["sleep", "60"], timeout_s=BOUND_SECONDS - 1)),
    ]
    assert measuring.wait(30)
    proxy.delay_s = 0.05
    begun.append(
        Operation("push", lambda: link.push(large, remote, on_progress=lambda *_: sending.set()))
    )
    assert sending.wait(30)

    FAULTS[fault](proxy)
    broken = time.monotonic()
    # What stops a stream is no error of the link: this one is closed while it waits.
    idle = Operation("read of a stream", waiting.read)
    begun += [
        Operation("next program", lambda: link.shell(["true"], timeout_s=10)),
        Operation("read of a file", lambda: link.read(remote, limit=1 << 20)),
        Operation("open", lambda: link.open_stream("shell,v2,raw:cat")),
        Operation("describe", device.describe),
    ]
    within(broken + BOUND_SECONDS, begun)
    for operation in begun:
        kind = DeviceError if operation.name in ("measure", "describe") else LinkError
        assert isinstance(operation.error, kind), (operation.name, operation.error)

    closing = Operation("close", device.close)
    within(time.monotonic() + BOUND_SECONDS, [closing, idle])
    assert closing.error is None
    assert idle.error is None or isinstance(idle.error, LinkError)
    assert not Path(remote).exists()


@pytest.mark.parametrize("towards", ["host", "device"])
def test_a_link_that_is_silent_from_the_start(
    open_direct: Callable[..., Link], proxy: lab.Proxy, towards: str
) -> None:
    proxy.spoil(towards, silent=True)
    opening = Operation("connect", lambda: open_direct(proxy.address))
    within(time.monotonic() + BOUND_SECONDS, [opening])
    assert isinstance(opening.error, LinkError)
