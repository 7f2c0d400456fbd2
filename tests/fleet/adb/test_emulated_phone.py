"""A whole job on an emulated phone: the bundle behind Google's adbd. Function, not speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.demo import MODEL
from adapt.errors import DeviceError
from adapt.fleet.bundle import RUNTIMES
from tests.fleet.adb import lab
from tests.fleet.emulation import aarch64_bundle, cache, emulator

pytestmark = pytest.mark.skipif(
    "ADAPT_LONG" not in os.environ, reason="minutes; ADAPT_LONG=1 runs it"
)
MAX_RESUMES = 20
# A phone's folders in a mount namespace of its own, so that this machine's stay what they are.
PHONE = 'mount -t tmpfs none /data && mkdir -p /data/local/tmp && exec "$@"'


@pytest.fixture(scope="module")
def phone(
    namespace: lab.Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """How --device names it, and the home folder of a host that has the bundle."""
    folder = tmp_path_factory.mktemp("phone")
    aarch64_bundle(RUNTIMES[0])
    (folder / "home").mkdir()
    (folder / "home/bundles").symlink_to(cache() / "bundles")
    data, port = Path("/data"), lab.ADBD_PORT + 1
    made = not data.exists()
    if made:
        data.mkdir()
    adbd = ["unshare", "--mount", "sh", "-c", PHONE, "sh", *lab.command("adbd")]
    environment = {"ADBD_PORT": str(port), "DEVICE_AGENT_EMULATOR": str(emulator())}
    try:
        with lab.running(namespace.command(adbd), folder / "log", **environment):
            lab.until(lambda: lab.listens(namespace.device, port))
            yield f"{namespace.device}:{port}", folder / "home"
    finally:
        if made:
            data.rmdir()


def adapt(home: Path, *arguments: str) -> str:
    """What a command prints; the test fails with its messages where the command does."""
    done = tried(home, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def tried(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of this checkout, for which no adb server runs."""
    return subprocess.run(
        [sys.executable, "-m", "adapt", *arguments],
        env={**os.environ, "ADAPT_HOME": str(home), "ANDROID_ADB_SERVER_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
    )


def test_the_doctor_finds_nothing_wrong(phone: tuple[str, Path]) -> None:
    device, home = phone
    found = json.loads(adapt(home, "doctor", "--device", device, "--json"))
    assert [f for f in found if f["verdict"] == "fail"] == []
    assert {"agent", "kernel"} <= {f["check"] for f in found}


def test_a_job_ends_with_a_measured_network(phone: tuple[str, Path], tmp_path: Path) -> None:
    device, home = phone
    options = ["--model", str(MODEL), "--data", "adapt.demo:digits", "--budget", "macs=90%"]
    options += ["--trial-steps", "2", "--short-steps", "2", "--long-steps", "2"]
    job = str(tmp_path / "job")
    done = tried(home, "run", *options, "--device", device, "--output", job, "--json")
    for _ in range(MAX_RESUMES):
        # An emulator is no steady device: kernels that it could not time are tried again.
        if done.returncode == DeviceError.exit_code and "could not time" in done.stderr:
            done = tried(home, "resume", job, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    bundle = aarch64_bundle(RUNTIMES[0]).manifest
    (platform,) = result["platforms"].values()
    assert bundle.build[:8] in platform
    adapted = next(n for n in result["networks"] if n["name"] == "adapted")
    assert adapted["measured"]["latency"]["latency_us"] > 0
    adapt(home, "devices", "clean", "--device", device)
