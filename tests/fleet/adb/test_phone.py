"""What a phone is given, over Google's adbd: the doctor's visit, and the bundle under emulation."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.fleet.bundle import RUNTIMES, clean, install
from adapt.fleet.canary import CANARY_ID, canary_model
from adapt.fleet.device import Device, MeasureOptions, Status
from adapt.fleet.doctor import Verdict, examine
from adapt.fleet.link import Link
from adapt.fleet.remote import RemoteDevice
from tests.fleet.adb import lab
from tests.fleet.emulation import aarch64_bundle, emulator


def test_the_doctor_comes_over_adb(open_direct: Callable[..., Link], tmp_path: Path) -> None:
    def start(link: Link) -> Device:
        return RemoteDevice("phone", link, lab.AGENT)

    found = list(examine(open_direct, start, str(tmp_path)))
    assert [f for f in found if f.verdict is Verdict.FAIL] == []
    assert {"link", "execution", "affinity", "agent", "kernel"} <= {f.check for f in found}


@pytest.mark.skipif("ADAPT_LONG" not in os.environ, reason="half a minute; ADAPT_LONG=1 runs it")
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_bundle_measures_over_adb(
    runtime: str, open_direct: Callable[..., Link], tmp_path: Path
) -> None:
    bundle = aarch64_bundle(runtime)
    link = open_direct()
    command = install(link, bundle, str(tmp_path))
    emulated = ["env", f"DEVICE_AGENT_EMULATOR={emulator()}", *command]
    device = RemoteDevice("phone", link, emulated)
    try:
        identity = device.describe().identity
        options = MeasureOptions(target_relative_error=0.5, time_limit_ms=60_000)
        outcome = device.measure([canary_model()], options).outcomes[CANARY_ID]
    finally:
        device.close()
    assert (identity.architecture, identity.runtime_build) == ("aarch64", bundle.manifest.build)
    assert outcome.status in (Status.MEASURED, Status.NOT_CONVERGED), outcome.detail
    with open_direct() as again:
        clean(again, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
