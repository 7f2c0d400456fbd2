"""What every device does, however it is reached: one suite for all links."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from adapt.errors import Busy, DeviceError
from adapt.fleet.boards import enroll
from adapt.fleet.device import Device, MeasureOptions, ModelFile, Progress, Status
from adapt.fleet.local import LocalDevice
from adapt.fleet.remote import RemoteDevice
from tests.fleet.adb import lab
from tests.fleet.agents import free_port, serving

QUICK = MeasureOptions(target_relative_error=0.05, window_us=2_000, time_limit_ms=120_000)
SLOW = MeasureOptions(
    target_relative_error=0.0005, max_windows=200, window_us=1_000_000, time_limit_ms=60_000
)
# The machine with USB is emulated.
EMULATED_START_SECONDS = 400.0
WAYS = ["local", "direct", "server", "board", *(["usb"] if "ADAPT_USB" in os.environ else [])]


@pytest.fixture(scope="module", params=WAYS)
def device(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Device]:
    """This machine, reached in each way."""
    with ExitStack() as stack:
        if request.param == "local":
            opened: Device = LocalDevice()
        elif request.param == "board":
            folder, port = tmp_path_factory.mktemp("board"), free_port()
            board = enroll(folder / "home", "pi", f"127.0.0.1:{port}", folder / "agent")
            tls = ("--tls", str(folder / "agent"), "--token-file", str(folder / "agent/token"))
            stack.enter_context(serving("--listen", f"0.0.0.0:{port}", *tls))
            opened = board.connect()
        else:
            names = {"direct": "open_direct", "server": "open_through_server", "usb": "open_usb"}
            opener = request.getfixturevalue(names[request.param])
            if request.param == "usb":
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setattr("adapt.fleet.remote.START_SECONDS", EMULATED_START_SECONDS)
            opened = RemoteDevice("phone", opener(), lab.AGENT)
        stack.callback(opened.close)
        yield opened


def test_description_and_platform(device: Device) -> None:
    description = device.describe()
    assert description.platform("builtin", 1) == device.platform("builtin", 1, 0)
    assert description.identity.backends == ("xnnpack", "builtin")
    later = device.describe()
    assert later.identity == description.identity
    assert later.state.monotonic_ns > description.state.monotonic_ns


def test_all_are_the_same_platform(device: Device) -> None:
    with LocalDevice() as here:
        assert device.platform("xnnpack", 1, 0) == here.platform("xnnpack", 1)


def test_two_networks(device: Device, shared_model: Callable[[str], bytes]) -> None:
    names = ("kws_dscnn_int8.tflite", "resnet8_cifar10_float.tflite")
    seen: list[Progress] = []
    models = [ModelFile(name, shared_model(name)) for name in names]
    batch = device.measure(models, QUICK, seen.append)
    assert {o.status for o in batch.outcomes.values()} <= {Status.MEASURED, Status.NOT_CONVERGED}
    assert [batch.outcomes[name].nodes for name in names] == [13, 16]
    assert seen[-1].settled == 2


def test_a_large_model(device: Device) -> None:
    batch = device.measure([ModelFile("zeros", bytes(20_000_000))], QUICK)
    assert batch.outcomes["zeros"].status is Status.REFUSED


def test_refusals_are_plain(device: Device, small_model: bytes) -> None:
    with pytest.raises(DeviceError, match=r"refused the request: options\.threads is 999"):
        device.measure([ModelFile("a", small_model)], MeasureOptions(threads=999))


def test_a_user_who_loses_patience(device: Device, small_model: bytes) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.measure([ModelFile("a", small_model)], SLOW, interrupt)

    def free() -> bool:
        try:
            return bool(device.measure([ModelFile("a", small_model)], QUICK).outcomes)
        except Busy:
            return False

    lab.until(free)


def test_from_several_threads(device: Device) -> None:
    found: list[str] = []
    ask = lambda: found.append(device.describe().identity.boot_id)  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
