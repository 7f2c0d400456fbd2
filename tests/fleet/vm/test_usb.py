"""Links over USB: a machine whose USB is its own device, in which tests of links run once more."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.fleet.adb import lab
from tests.fleet.vm.machine import Initramfs, fetched, kernel, machine, modules

pytestmark = pytest.mark.skipif("ADAPT_VM" not in os.environ, reason="minutes; ADAPT_VM=1 runs it")
INIT = Path(__file__).with_name("usb_init.sh")
# Where KVM works it is many times faster: ADAPT_VM_ACCEL=kvm.
ACCELERATION = os.environ.get("ADAPT_VM_ACCEL", "tcg,thread=multi")
BOOT_SECONDS = 300
TESTS_SECONDS = 1800
SERIAL = "0A1B2C3D"
MODULES = ("dummy_hcd", "usb_f_fs", "9pnet_virtio", "9p")
# Of the suite for all links those over USB, and what only USB has. That for devices can be named
# as well; an emulated machine starts workers too slowly for all of it.
TESTS = "tests/fleet/adb/test_link.py tests/fleet/adb/test_usb.py"


@pytest.mark.parametrize("speed", ["high", "super"])
def test_links_over_usb(speed: str, tmp_path: Path) -> None:
    linux = kernel("amd64", "linux-image-amd64")
    root(linux, os.environ.get("ADAPT_VM_TESTS", TESTS)).write(tmp_path / "initramfs")
    options = [
        *("-M", "q35", "-cpu", "max", "-smp", "2", "-m", "3072", "-accel", ACCELERATION),
        *("-kernel", str(linux / "vmlinuz"), "-initrd", str(tmp_path / "initramfs")),
        *("-append", f"console=ttyS0 quiet panic=-1 ADAPT_USB={SERIAL} ADAPT_USB_SPEED={speed}"),
        *("-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"),
    ]
    with machine("amd64", tmp_path, options) as started:
        started.await_line("USB READY", BOOT_SECONDS)
        end = started.await_line("USB ENDED", TESTS_SECONDS)
        print(started.text())
        assert end.endswith(": 0"), started.last_lines()


def root(linux: Path, tests: str) -> Initramfs:
    """All files of the machine that are not this machine's."""
    files = Initramfs()
    for name in ("dev", "proc", "root"):
        files.add_folder(name)
    busybox = fetched("busybox-amd64", "amd64", ["busybox-static"]) / "usr/bin/busybox"
    files.add("bin/busybox", busybox.read_bytes())
    order = modules(linux, MODULES)
    for file in order:
        files.add(f"modules/{file.name}", file.read_bytes())
    files.add("modules/order", "".join(f"{file.name}\n" for file in order).encode())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/shm",
        "TMPDIR": "/dev/shm",
        "PYTHONPATH": str(lab.ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/dev/shm/hypothesis",
        "ADAPT_USB": SERIAL,
        "ADAPT_ADBD": str(lab.programs()),
    }
    words = " ".join(f"{name}={value}" for name, value in environment.items())
    files.add("environment", words.encode())
    files.add("adbd", " ".join(lab.command("adbd")).encode())
    options = "-v --color=no -p no:cacheprovider -k usb"
    command = f"cd {lab.ROOT} && {sys.executable} -m pytest {options} {tests}"
    files.add("command", command.encode())
    files.add("init", INIT.read_bytes())
    return files
