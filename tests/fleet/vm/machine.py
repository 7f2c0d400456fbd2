"""Virtual machines with kernels as Debian packages them: what they are made of, and running one.

Nothing is installed: kernel, emulator and programs come from the package source of this machine
into the folder in which tests keep what took long to fetch.
"""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import platform
import re
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from adapt.errors import InputError
from adapt.fleet.bundle.programs import run
from adapt.fleet.bundle.sources import Apt
from tests.fleet.emulation import cache

# The first release of Debian with a kernel of 16 KiB pages, and with adbd.
SUITE = "trixie"
# So much of a console is shown where something fails.
LAST_LINES = 100
TURN_SECONDS = 0.2
KEY_DIGITS = 8
CONSOLE, COMPLAINTS = "console", "complaints"
_MODULES = re.compile(
    r"(drivers/usb/(common|core|gadget|usbip)/|drivers/net/(virtio_net|net_failover)\.|net/core/failover\."
    r"|net/9p/|fs/9p/|fs/netfs/|fs/configfs/)"
)
_DEPENDS = re.compile(rb"\0depends=([a-zA-Z0-9_,-]*)\0")


def fetched(name: str, architecture: str, packages: Sequence[str]) -> Path:
    """A folder with `packages` and what they depend on, unpacked; else the test is skipped."""
    folder = cache() / "vm" / name
    if not folder.exists():
        with _fetching(folder, architecture, packages) as (debs, root):
            for deb in debs:
                run(["dpkg-deb", "--extract", str(deb), str(root)])
    return folder


def kernel(architecture: str, package: str) -> Path:
    """A folder with `vmlinuz` and those of the kernel's modules that tests load; else a skip."""
    wanted = hashlib.sha256(_MODULES.pattern.encode()).hexdigest()[:KEY_DIGITS]
    folder = cache() / "vm" / f"{package}-{wanted}"
    if not folder.exists():
        with _fetching(folder, architecture, [package]) as (debs, root):
            # The rest is what a system of its own would need to boot it.
            image = max(debs, key=lambda deb: deb.stat().st_size)
            _unpack_kernel(image, root)
    return folder


@contextlib.contextmanager
def _fetching(
    folder: Path, architecture: str, packages: Sequence[str]
) -> Iterator[tuple[list[Path], Path]]:
    """Downloaded packages, and a folder that becomes `folder` in the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        debs, root = Path(name, "debs"), Path(name, "root")
        debs.mkdir()
        root.mkdir()
        try:
            with Apt(SUITE, [architecture]) as apt:
                apt.download_closure(packages, debs)
        except InputError as error:
            pytest.skip(f"{', '.join(packages)} cannot be fetched: {error.what}")
        yield sorted(debs.glob("*.deb")), root
        root.replace(folder)


def _unpack_kernel(deb: Path, root: Path) -> None:
    """Its modules decompressed, each at the top of `root`."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name).name
            if name.startswith("vmlinuz-"):
                (root / "vmlinuz").write_bytes(_content(archive, member))
            elif name.endswith(".ko.xz") and _MODULES.search(member.name):
                (root / name[:-3]).write_bytes(lzma.decompress(_content(archive, member)))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def modules(folder: Path, wanted: Sequence[str]) -> list[Path]:
    """Files of the modules `wanted` and of those that they need, in the order of loading."""
    order: list[Path] = []

    def add(name: str) -> None:
        file = next(f for f in folder.glob("*.ko") if f.stem.replace("-", "_") == name)
        if file not in order:
            for needed in filter(None, _DEPENDS.findall(file.read_bytes())[0].decode().split(",")):
                add(needed.replace("-", "_"))
            order.append(file)

    for name in wanted:
        add(name)
    return order


class Initramfs:
    """The files that a machine begins with: an archive in the format of `cpio -H newc`."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._folders: set[str] = set()

    def add(self, name: str, content: bytes, mode: int = 0o100755) -> None:
        """A file with its folders, or with the bits of a symbolic link in `mode`, its target."""
        parent = name.rpartition("/")[0]
        if parent and parent not in self._folders:
            self.add_folder(parent)
        self._entry(name, mode, content)

    def add_folder(self, name: str) -> None:
        """A folder, with those it is in."""
        parent = name.rpartition("/")[0]
        if parent and parent not in self._folders:
            self.add_folder(parent)
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def add_tree(self, name: str, source: Path) -> None:
        """The regular files below `source`, what links lead to included, below `name`."""
        for file in sorted(source.rglob("*")):
            if file.is_file():
                self.add(f"{name}/{file.relative_to(source)}", file.read_bytes())

    def write(self, path: Path) -> None:
        """End it."""
        self._entry("TRAILER!!!", 0, b"")
        path.write_bytes(self._bytes)

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        path = name.encode() + b"\0"
        # inode, mode, uid, gid, links, time, size, four numbers of devices, length of the name.
        fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        self._bytes += b"070701" + b"".join(b"%08x" % field for field in fields) + path
        self._bytes += bytes(-len(self._bytes) % 4) + content
        self._bytes += bytes(-len(self._bytes) % 4)


class Machine:
    """A running machine, whose console is a file in `folder`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def await_line(self, text: str, seconds: float) -> str:
        """The line of the console with `text`; the test fails where it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self._process.poll() is not None
            for line in self.text().splitlines():
                if text in line:
                    return line
            assert not ended, f"the machine ended without {text!r}:\n{self.last_lines()}"
            late = f"no {text!r} in {seconds:g} s:\n{self.last_lines()}"
            assert time.monotonic() < deadline, late
            time.sleep(TURN_SECONDS)

    def text(self) -> str:
        """What it has written."""
        return (self._folder / CONSOLE).read_text(errors="replace").replace("\r", "")

    def last_lines(self) -> str:
        """The end of that, behind what qemu complains of."""
        lines = self.text().splitlines()[-LAST_LINES:]
        return (self._folder / COMPLAINTS).read_text(errors="replace") + "\n".join(lines)


@contextlib.contextmanager
def machine(architecture: str, folder: Path, options: Sequence[str]) -> Iterator[Machine]:
    """A machine with the options of qemu, until the end; a skip where there is no qemu."""
    command = [*_emulator(architecture), "-nodefaults", "-no-reboot", "-display", "none"]
    command += ["-serial", f"file:{folder / CONSOLE}", *options]
    (folder / CONSOLE).touch()
    with (
        (folder / COMPLAINTS).open("wb") as complaints,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=complaints) as process,
    ):
        try:
            yield Machine(process, folder)
        finally:
            process.kill()


def _emulator(architecture: str) -> list[str]:
    """How qemu is started, from wherever it is."""
    if platform.machine() != "x86_64":
        pytest.skip("virtual machines are started on x86-64 alone")
    program, package = {
        "arm64": ("qemu-system-aarch64", "qemu-system-arm"),
        "amd64": ("qemu-system-x86_64", "qemu-system-x86"),
    }[architecture]
    root = fetched(package, "amd64", [package])
    libraries = root / "usr/lib/x86_64-linux-gnu"
    return [
        *(str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)),
        *(str(root / "usr/bin" / program), "-L", str(root / "usr/share/qemu")),
        *("-L", str(root / "usr/share/seabios")),
    ]
