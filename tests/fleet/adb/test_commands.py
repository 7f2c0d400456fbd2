"""Commands with a device behind adb, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import usb1  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.tflite.writer import null_kernel, write_kernel
from tests.fleet.adb import lab

# As long as somebody needs who stumbled over the cable.
AWAY_SECONDS = 20
DEADLINE_SECONDS = 400
# What is said of a serial number depends on whether this machine can ask its USB.
try:
    usb1.USBContext().open().close()
except (OSError, usb1.USBError):
    NOT_PLUGGED_IN = "install libusb 1.0"
else:
    NOT_PLUGGED_IN = "0A1B2C is plugged in"
LONG = pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="ADAPT_LONG=1 runs it")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """`adapt` with a home of its own and no adb server; fails where it ends with another code."""

    def invoke(*arguments: str, code: int = 0, server: int = 1) -> Result:
        environment = {"ADAPT_HOME": str(tmp_path), "ANDROID_ADB_SERVER_PORT": str(server)}
        result = CliRunner(env=environment).invoke(main, arguments, prog_name="adapt")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return invoke


def test_a_network_is_measured(
    run: Callable[..., Result], adbd: tuple[str, int], small_model: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.tflite").write_bytes(small_model)
    result = run(
        *("measure", str(tmp_path / "model.tflite"), "--json"),
        *("--device", "{}:{}".format(*adbd), "--agent-python", sys.executable),
    )
    assert "latency" in json.dumps(json.loads(result.stdout))


def test_devices_are_listed(run: Callable[..., Result], adbd: tuple[str, int], adb: Any) -> None:
    serial = "{}:{}".format(*adbd)
    adb("connect", serial)
    listed = json.loads(run("devices", "--json", server=adb.port).stdout)
    states = {each["device"]: each["state"] for each in listed}
    assert states["local"] == states[serial] == "ready"


@pytest.mark.parametrize(
    ("arguments", "code", "mention"),
    [
        (["--device", "0A1B2C"], 2, "no device '0A1B2C'"),
        (["--device", "0A1B2C", "--agent-python", "python3"], 4, NOT_PLUGGED_IN),
        (["--device", "127.0.0.1:1", "--agent-python", "python3"], 4, "nobody answers"),
        (["--device", "tcp:127.0.0.1:1"], 2, "adapt devices enroll"),
    ],
)
def test_devices_that_are_not_there(
    run: Callable[..., Result], tmp_path: Path, arguments: list[str], code: int, mention: str
) -> None:
    (tmp_path / "model.tflite").write_bytes(write_kernel(null_kernel()))
    assert mention in run("measure", str(tmp_path / "model.tflite"), *arguments, code=code).output


@LONG
def test_a_job_survives_a_pulled_cable_and_is_resumed_after_a_lost_one(
    proxy: lab.Proxy, tmp_path: Path
) -> None:
    job, log = tmp_path / "job", tmp_path / "log"
    options = (
        *("--model", str(lab.ROOT / "adapt/demo/digits.keras"), "--data", "adapt.demo:digits"),
        *("--budget=latency=50%", "--first-step=0.2", "--trial-steps=4", "--short-steps=3"),
        *("--long-steps", "250", "--output", str(job), "--exact"),
        *("--device", "{}:{}".format(*proxy.address), "--agent-python", sys.executable),
    )

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environment = {"ADAPT_HOME": str(tmp_path), "ANDROID_ADB_SERVER_PORT": "1"}
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "adapt", *arguments],
                env=os.environ | environment | {"PYTHONPATH": str(lab.ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    def until_measuring(lines: int) -> None:
        lab.until(lambda: log.read_text().count("measuring") >= lines, DEADLINE_SECONDS)

    with start("run", *options) as process:
        until_measuring(1)
        proxy.cut()
        time.sleep(AWAY_SECONDS)
        proxy.mend()
        lab.until(lambda: "is back" in log.read_text(), DEADLINE_SECONDS)
        assert "to come back" in log.read_text()
        proxy.cut()
        assert process.wait(DEADLINE_SECONDS) == 4
    assert f"adapt resume {job}" in log.read_text()
    proxy.mend()
    with start("resume", str(job)) as process:
        assert process.wait(DEADLINE_SECONDS) == 0, log.read_text()
    assert (job / "adapted.tflite").exists()
