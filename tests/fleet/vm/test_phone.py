"""A phone as a virtual machine: a kernel of 16 KiB pages, hardly a file but adbd and a shell."""

from __future__ import annotations

import json
import os
import stat
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
from tests.fleet.vm.machine import Initramfs, Machine, fetched, kernel, machine, modules

pytestmark = pytest.mark.skipif("ADAPT_VM" not in os.environ, reason="minutes; ADAPT_VM=1 runs it")
INIT = Path(__file__).with_name("phone_init.sh")
GUEST_PORT = 7555
BOOT_SECONDS = 300
COMMAND_SECONDS = 900
# What Android's toybox has of what is asked, and what init needs.
PROGRAMS = (
    *("sh", "cat", "chmod", "chown", "cp", "df", "echo", "env", "find", "grep", "head", "id", "ln"),
    *("ls", "mkdir", "mv", "nproc", "ps", "rm", "sed", "sha256sum", "sleep", "sort", "tail", "tar"),
    *("taskset", "test", "tr", "true", "uname", "wc", "gzip", "mount", "insmod", "ip", "netstat"),
    *("start-stop-daemon", "poweroff", "cut", "kill", "dd", "touch", "xargs", "basename"),
)


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Machine]]:
    """How --device names it, and the machine."""
    folder = tmp_path_factory.mktemp("phone")
    linux = kernel("arm64", "linux-image-arm64-16k")
    root(linux).write(folder / "initramfs")
    port = free_port()
    options = [
        *("-M", "virt", "-cpu", "cortex-a76", "-smp", "2", "-m", "3072"),
        # Time by instructions: the emulator's own clocks run apart, which tables do not believe.
        *("-accel", "tcg,thread=single", "-icount", "shift=1"),
        *("-kernel", str(linux / "vmlinuz"), "-initrd", str(folder / "initramfs")),
        *("-append", f"console=ttyAMA0 quiet panic=-1 ADBD_PORT={GUEST_PORT}"),
        *("-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{GUEST_PORT}"),
        *("-device", "virtio-net-pci,netdev=n,romfile="),
    ]
    with machine("arm64", folder, options) as started:
        started.await_line("PHONE READY", BOOT_SECONDS)
        yield f"127.0.0.1:{port}", started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a host that has the bundle."""
    aarch64_bundle(RUNTIMES[0])
    folder = tmp_path_factory.mktemp("home")
    (folder / "bundles").symlink_to(cache() / "bundles")
    return folder


def root(linux: Path) -> Initramfs:
    """All files of the phone."""
    files = Initramfs()
    for name in ("dev", "proc", "sys", "data"):
        files.add_folder(name)
    busybox = fetched("busybox-arm64", "arm64", ["busybox-static"]) / "usr/bin/busybox"
    files.add("system/bin/busybox", busybox.read_bytes())
    for name in PROGRAMS:
        files.add(f"system/bin/{name}", b"busybox", stat.S_IFLNK | 0o777)
    files.add("bin", b"system/bin", stat.S_IFLNK | 0o777)
    adbd = fetched("adbd-arm64", "arm64", ["adbd"])
    files.add("apex/adbd/bin/adbd", (adbd / "usr/lib/android-sdk/platform-tools/adbd").read_bytes())
    libraries = adbd / "usr/lib/aarch64-linux-gnu"
    for file in sorted([*libraries.glob("*.so*"), *libraries.glob("android/*.so*")]):
        files.add(f"apex/adbd/lib64/{file.name}", file.read_bytes())
    order = modules(linux, ["virtio_net"])
    for file in order:
        files.add(f"vendor/{file.name}", file.read_bytes())
    files.add("vendor/modules", "".join(f"{file.name}\n" for file in order).encode())
    files.add("init", INIT.read_bytes())
    return files


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


def test_the_doctor_finds_nothing_wrong(phone: tuple[str, Machine], home: Path) -> None:
    device, started = phone
    assert "16k" in started.await_line("PHONE ", 1)
    found = json.loads(adapt(home, "doctor", "--device", device, "--json"))
    print(json.dumps(found, indent=1))
    assert [f for f in found if f["verdict"] == "fail"] == []
    assert {"agent", "kernel"} <= {f["check"] for f in found}


def test_fifty_kernels(
    phone: tuple[str, Machine], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    options = MeasureOptions(target_relative_error=0.5, time_limit_ms=300_000)
    kernels = [convolution(channels) for channels in range(1, 51)]
    with claimed(phone[0], home=home) as device, open_table(tmp_path / "table.db") as store:
        description = device.describe()
        done = measure_kernels(store, device, kernels, options=options)
        entries = store.entries(device.platform(options.backend, 1, 0), kernels)
    assert (description.identity.page_size, description.identity.architecture) == (16384, "aarch64")
    print(f"{len(entries)} of {len(kernels)} kernels in {done.device_ms / 1000:.0f} s of the phone")
    assert done.failed == {}
    assert entries.keys() == set(kernels)


def test_what_runs_there_is_the_shell_user(phone: tuple[str, Machine], home: Path) -> None:
    with open_link(phone[0], home) as link:
        said = link.shell(["sh", "-c", "id -u; ls /"], timeout_s=20).stdout.decode().split()
        running = link.shell(["ps", "-o", "user,args"], timeout_s=20).stdout.decode()
    assert said[0] == "2000"
    assert not {"lib", "lib64", "usr", "tmp", "etc"} & set(said)
    assert "device_agent" not in running
