"""A host as a virtual machine: x86-64, with this machine's own files, read only, and a USB bus."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fleet.adb import lab
from tests.fleet.emulation import cache
from tests.fleet.vm.machine import Initramfs, fetched, kernel, machine, modules

# Where KVM works it is many times faster: ADAPT_VM_ACCEL=kvm.
ACCELERATION = os.environ.get("ADAPT_VM_ACCEL", "tcg,thread=multi")
BOOT_SECONDS = 300
TESTS_SECONDS = 1800
_FOLDER = Path(__file__).parent
_MODULES = ("9pnet_virtio", "9p")
_PYTEST = "-v --color=no -p no:cacheprovider"


def run_tests(
    folder: Path,
    tests: str,
    *,
    usb: str,
    drivers: Sequence[str],
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    parameters: str = "",
    options: Sequence[str] = (),
) -> str:
    """Run `tests`, arguments of pytest, in the machine; what it wrote, where none fails.

    Its USB is set up by the script `usb`, which finds `files` at the top of the machine, `drivers`
    loaded, and the kernel's `parameters` in its environment. `environment` is that of the tests.
    """
    linux = kernel("amd64", "linux-image-amd64")
    root = _root(linux, [*_MODULES, *drivers], tests, environment or {})
    for name in ("gadget.sh", usb):
        root.add("usb.sh" if name == usb else name, (_FOLDER / name).read_bytes())
    for name, content in (files or {}).items():
        root.add(name, content.encode())
    root.write(folder / "initramfs")
    everything = [
        *("-M", "q35", "-cpu", "max", "-smp", "2", "-m", "3072", "-accel", ACCELERATION),
        *("-kernel", str(linux / "vmlinuz"), "-initrd", str(folder / "initramfs")),
        *("-append", f"console=ttyS0 quiet panic=-1 {parameters}"),
        *("-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"),
        *options,
    ]
    with machine("amd64", folder, everything) as started:
        started.await_line("USB READY", BOOT_SECONDS)
        end = started.await_line("USB ENDED", TESTS_SECONDS)
        print(started.text())
        assert end.endswith(": 0"), started.last_lines()
        return started.text()


def _root(
    linux: Path, wanted: Sequence[str], tests: str, environment: Mapping[str, str]
) -> Initramfs:
    """All files of the machine that are not this machine's, but for those of its USB."""
    files = Initramfs()
    for name in ("dev", "proc", "root"):
        files.add_folder(name)
    busybox = fetched("busybox-amd64", "amd64", ["busybox-static"]) / "usr/bin/busybox"
    files.add("bin/busybox", busybox.read_bytes())
    order = modules(linux, wanted)
    for file in order:
        files.add(f"modules/{file.name}", file.read_bytes())
    files.add("modules/order", "".join(f"{file.name}\n" for file in order).encode())
    whole = {
        "PATH": os.environ["PATH"],
        "HOME": "/dev/shm",
        "TMPDIR": "/dev/shm",
        "XDG_CACHE_HOME": str(cache().parent),
        "PYTHONPATH": str(lab.ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/dev/shm/hypothesis",
        **environment,
    }
    files.add("environment", " ".join(f"{name}={value}" for name, value in whole.items()).encode())
    command = f"cd {lab.ROOT} && {sys.executable} -m pytest {_PYTEST} {tests}"
    files.add("command", command.encode())
    files.add("init", (_FOLDER / "host_init.sh").read_bytes())
    return files
