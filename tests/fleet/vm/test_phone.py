"""Doctor and table on a phone that is a virtual machine; see phone.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.cost.table import open_table
from adapt.fleet.bundle import RUNTIMES
from adapt.fleet.claim import claimed, open_link
from adapt.fleet.device import MeasureOptions
from adapt.refresh.kernels import measure_kernels
from adapt.tflite.ops import make_kernel
from lookup_tables.kernel import Kernel, Tensor
from tests.fleet.agents import free_port
from tests.fleet.emulation import aarch64_bundle, cache
from tests.fleet.vm.phone import GUEST_PORT, running_phone

pytestmark = pytest.mark.skipif("ADAPT_VM" not in os.environ, reason="minutes; ADAPT_VM=1 runs it")
# A phone that is there already, as --device names it.
PHONE = os.environ.get("ADAPT_VM_PHONE", "")
COMMAND_SECONDS = 900


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """How --device names it."""
    if PHONE:
        yield PHONE
        return
    port = free_port()
    network = f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{GUEST_PORT}"
    with running_phone(tmp_path_factory.mktemp("phone"), network):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a host that has the bundle."""
    aarch64_bundle(RUNTIMES[0])
    folder = tmp_path_factory.mktemp("home")
    (folder / "bundles").symlink_to(cache() / "bundles")
    return folder


def convolution(channels: int) -> Kernel:
    """A small one for each number."""
    return make_kernel(
        "CONV_2D",
        [
            Tensor("float32", (1, 8, 8, 4)),
            Tensor("float32", (channels, 3, 3, 4), constant=True),
            Tensor("float32", (channels,), constant=True),
        ],
        [Tensor("float32", (1, 8, 8, channels))],
        padding="SAME",
        stride_h=1,
        stride_w=1,
    )


def adapt(home: Path, *arguments: str) -> str:
    """What a command prints; the test fails with its messages where the command does."""
    done = subprocess.run(
        [sys.executable, "-m", "adapt", *arguments],
        env={**os.environ, "ADAPT_HOME": str(home), "ANDROID_ADB_SERVER_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


def test_the_doctor_finds_nothing_wrong(phone: str, home: Path) -> None:
    found = json.loads(adapt(home, "doctor", "--device", phone, "--json"))
    print(json.dumps(found, indent=1))
    assert [f for f in found if f["verdict"] == "fail"] == []
    assert {"agent", "kernel"} <= {f["check"] for f in found}


def test_fifty_kernels(
    phone: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    options = MeasureOptions(target_relative_error=0.5, time_limit_ms=300_000)
    kernels = [convolution(channels) for channels in range(1, 51)]
    with claimed(phone, home=home) as device, open_table(tmp_path / "table.db") as store:
        description = device.describe()
        done = measure_kernels(store, device, kernels, options=options)
        entries = store.entries(device.platform(options.backend, 1, 0), kernels)
    assert (description.identity.page_size, description.identity.architecture) == (16384, "aarch64")
    print(f"{len(entries)} of {len(kernels)} kernels in {done.device_ms / 1000:.0f} s of the phone")
    assert done.failed == {}
    assert entries.keys() == set(kernels)


def test_what_runs_there_is_the_shell_user(phone: str, home: Path) -> None:
    with open_link(phone, home) as link:
        said = link.shell(["sh", "-c", "id -u; ls /"], timeout_s=20).stdout.decode().split()
        running = link.shell(["ps", "-o", "user,args"], timeout_s=20).stdout.decode()
    assert said[0] == "2000"
    assert not {"lib", "lib64", "usr", "tmp", "etc"} & set(said)
    assert "device_agent" not in running
