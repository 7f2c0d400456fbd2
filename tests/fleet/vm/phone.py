"""A phone as a virtual machine: a kernel of 16 KiB pages, hardly a file but adbd and a shell."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fleet.vm.machine import Initramfs, Machine, fetched, kernel, machine, modules

# Where the phone listens: adbd itself, or its USB for a host to connect to.
GUEST_PORT = 7555
ADDRESS = "10.0.2.15"
BOOT_SECONDS = 300
_FOLDER = Path(__file__).parent
_MODULES, _USB_MODULES = ("virtio_net",), ("usbip_vudc", "usb_f_fs")
# What Android's toybox has of what is asked, and what init needs.
_PROGRAMS = (
    *("sh", "cat", "chmod", "chown", "cp", "df", "echo", "env", "find", "grep", "head", "id", "ln"),
    *("ls", "mkdir", "mv", "nproc", "ps", "rm", "sed", "sha256sum", "sleep", "sort", "tail", "tar"),
    *("taskset", "test", "tr", "true", "uname", "wc", "gzip", "mount", "insmod", "ip", "netstat"),
    *("start-stop-daemon", "poweroff", "cut", "kill", "dd", "touch", "xargs", "basename", "nc"),
)


@contextlib.contextmanager
def running_phone(folder: Path, network: str, serial: str = "") -> Iterator[Machine]:
    """The phone, listening; `network` is qemu's -netdev, with `n` for its id.

    Its adbd is on USB alone where the phone has a `serial` number, else on TCP alone.
    """
    linux = kernel("arm64", "linux-image-arm64-16k")
    wanted = [*_MODULES, *(_USB_MODULES if serial else ())]
    _root(linux, wanted).write(folder / "initramfs")
    options = [
        *("-M", "virt", "-cpu", "cortex-a76", "-smp", "2", "-m", "3072"),
        # Time by instructions: the emulator's own clocks run apart, which tables do not believe.
        *("-accel", "tcg,thread=single", "-icount", "shift=1"),
        *("-kernel", str(linux / "vmlinuz"), "-initrd", str(folder / "initramfs")),
        *("-append", f"console=ttyAMA0 quiet panic=-1 PORT={GUEST_PORT} ADAPT_USB={serial}"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=n,romfile="),
    ]
    with machine("arm64", folder, options) as started:
        started.await_line("PHONE READY", BOOT_SECONDS)
        yield started


def _root(linux: Path, wanted: Sequence[str]) -> Initramfs:
    """All files of the phone."""
    files = Initramfs()
    for name in ("dev", "proc", "sys", "data"):
        files.add_folder(name)
    busybox = fetched("busybox-arm64", "arm64", ["busybox-static"]) / "usr/bin/busybox"
    files.add("system/bin/busybox", busybox.read_bytes())
    for name in _PROGRAMS:
        files.add(f"system/bin/{name}", b"busybox", stat.S_IFLNK | 0o777)
    files.add("bin", b"system/bin", stat.S_IFLNK | 0o777)
    adbd = fetched("adbd-arm64", "arm64", ["adbd"])
    files.add("apex/adbd/bin/adbd", (adbd / "usr/lib/android-sdk/platform-tools/adbd").read_bytes())
    libraries = adbd / "usr/lib/aarch64-linux-gnu"
    for file in sorted([*libraries.glob("*.so*"), *libraries.glob("android/*.so*")]):
        files.add(f"apex/adbd/lib64/{file.name}", file.read_bytes())
    order = modules(linux, wanted)
    for file in order:
        files.add(f"vendor/{file.name}", file.read_bytes())
    files.add("vendor/modules", "".join(f"{file.name}\n" for file in order).encode())
    files.add("vendor/gadget.sh", (_FOLDER / "gadget.sh").read_bytes())
    files.add("init", (_FOLDER / "phone_init.sh").read_bytes())
    return files
