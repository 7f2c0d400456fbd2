"""Where the parts of a bundle come from: the package sources that this machine has configured.

Packages of the distribution come through apt with folders of its own, so that neither the
machine's packages nor its lists of them are touched, and wheels through pip. Both use the addresses
that the machine is set up with. What they bring counts only where its SHA-256 is the lock's; it is
kept under that, so a second build asks nobody.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from adapt.errors import InputError
from adapt.fleet.bundle.lock import Lock, Package, Wheel
from adapt.fleet.bundle.programs import FROM_ELSEWHERE, run
from adapt.fleet.closing import Closing

__all__ = ["Apt", "Parts"]

# Devices with a C library as old as any that Android's kernels run beside; newest first.
WHEEL_PLATFORMS = (
    "manylinux_2_34_aarch64",
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux2014_aarch64",
)
# Where distributions keep the key that signs their lists; apt has no option to ask.
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)
DEBIAN = "Debian"
_Part = TypeVar("_Part", Package, Wheel)
_MIRROR = re.compile(r"(?:https?|file|cdrom|mirror)[+:][^\s\[\]]{1,500}")


class Apt(Closing):
    """apt of this machine for one release, with lists and downloads in a folder of its own.

    A context manager; InputError where this machine has no apt, or its sources lack the release.
    """

    def __init__(self, suite: str, architectures: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="adapt-apt-")
        root = Path(self._folder.name)
        self._configuration = root / "apt.conf"
        try:
            for name in ("state/lists/partial", "cache/archives/partial", "parts"):
                (root / name).mkdir(parents=True)
            (root / "status").touch()
            (root / "sources.list").write_text(_sources(suite, architectures))
            self._configuration.write_text(_configuration(root, architectures))
            self._update(suite, root)
        except BaseException:
            self._folder.cleanup()
            raise

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Download packages, each NAME:ARCHITECTURE or with =VERSION after it, into `folder`."""
        self._run(["apt-get", "download", *names], folder)

    def download_closure(self, names: Iterable[str], folder: Path) -> None:
        """Download packages and all that they depend on into `folder`."""
        command = ["apt-get", "install", "--yes", "--download-only", "--no-install-recommends"]
        (folder / "partial").mkdir(exist_ok=True)
        self._run([*command, "--option", f"Dir::Cache::archives={folder}", *names], folder)

    def candidates(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """The newest (version, SHA-256) of each package, NAME:ARCHITECTURE."""
        text = self._run(["apt-cache", "show", "--no-all-versions", *names], Path("/"))
        found = {}
        for stanza in text.split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.+)$", stanza, re.MULTILINE))
            if "SHA256" in fields:
                name = f"{fields['Package']}:{fields['Architecture']}"
                found[name] = (fields["Version"], fields["SHA256"])
        return found

    def close(self) -> None:
        """Remove lists and downloads."""
        self._folder.cleanup()

    def _update(self, suite: str, root: Path) -> None:
        try:
            self._run(["apt-get", "update"], root)
        except InputError as error:
            origin = _mirrors()[0].origin
            if origin in (DEBIAN, ""):
                raise
            raise InputError(
                f"this machine's package sources are {origin}'s, which do not give the release"
                f" {suite}: {error.what}",
                FROM_ELSEWHERE,
            ) from error

    def _run(self, command: Sequence[str], folder: Path) -> str:
        environment = {**os.environ, "APT_CONFIG": str(self._configuration), "LC_ALL": "C.UTF-8"}
        return run(command, folder, environment)


class Parts:
    """A store of packages and wheels, each under its SHA-256.

    `folder` is made where it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, part: Package | Wheel) -> Path:
        """Where the file of a fetched part is."""
        return self._folder / part.sha256

    def fetch(self, lock: Lock, runtime: str) -> None:
        """Have every part of the bundle with `runtime`, and the tools to build it.

        Raises InputError where a part cannot be had from this machine's sources.
        """
        packages = self._lacking([*lock.packages, *lock.tools])
        if packages:
            architectures = sorted({package.architecture for package in packages})
            with Apt(lock.suite, architectures) as apt, self._downloads() as folder:
                apt.download((f"{p.name}:{p.architecture}={p.version}" for p in packages), folder)
        wheels = self._lacking(lock.wheels_of(runtime))
        if wheels:
            with self._downloads() as folder:
                _download_wheels(wheels, lock.python, folder)
        for other in [*self._lacking(packages), *self._lacking(wheels)]:
            raise InputError(
                f"the package sources have another file for {other} than the lock", FROM_ELSEWHERE
            )

    def _lacking(self, parts: Sequence[_Part]) -> list[_Part]:
        return [part for part in parts if not self.path(part).exists()]

    @contextmanager
    def _downloads(self) -> Iterator[Path]:
        """A folder for downloads, from which all goes into the store at the end."""
        # apt gives up its rights for downloading only where it may write to the folder.
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=self._folder) as name:
            yield Path(name)
            for file in Path(name).iterdir():
                with file.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                file.replace(self._folder / digest)


def _download_wheels(wheels: Sequence[Wheel], python: str, folder: Path) -> None:
    requirements = folder / "requirements.txt"
    lines = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels]
    requirements.write_text("".join(lines))
    abi = f"cp{python.replace('.', '')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [f"--platform={name}" for name in WHEEL_PLATFORMS]
    command += [f"--abi={name}" for name in (abi, "abi3", "none")]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    run(command, folder)
    requirements.unlink()


@dataclass(frozen=True, slots=True)
class _Mirror:
    """A source of packages that this machine has; `origin` is the distribution's name, if known."""

    address: str
    architecture: str
    origin: str


def _mirrors() -> list[_Mirror]:
    """Those with whole releases; InputError where this machine has none."""
    form = "$(REPO_URI) $(COMPONENT) $(ARCHITECTURE) $(ORIGIN)"
    found = []
    for line in run(["apt-get", "indextargets", "--format", form]).splitlines():
        address, component, architecture, origin = (*line.split(" ", 3), "", "", "")[:4]
        # Security updates and third parties have mirrors of their own, without whole releases.
        if component == "main" and "security" not in address and _MIRROR.fullmatch(address):
            found.append(_Mirror(address, architecture, origin))
    if not found:
        raise InputError("this machine's apt has no source of packages", FROM_ELSEWHERE)
    return found


def _sources(suite: str, architectures: Sequence[str]) -> str:
    """Lines for sources.list: `suite` from the mirrors that this machine gets its packages from.

    Debian's mirrors have all architectures. Those of others need not (Ubuntu's have two, and
    another server the rest), so there each architecture has to be among this machine's own.
    InputError where one is not.
    """
    first, *others = _mirrors()
    debian = first.origin in (DEBIAN, "")
    key = next((f" signed-by={path}" for path in KEYRINGS if debian and path.exists()), "")
    lines = []
    for architecture in architectures:
        own = [m for m in (first, *others) if m.architecture == architecture]
        if not own and not debian:
            raise InputError(
                f"this machine's package sources are {first.origin}'s, and none of them has"
                f" packages for {architecture}",
                f"add one that has (`dpkg --add-architecture {architecture}`, and its address), or"
                f" {FROM_ELSEWHERE}",
            )
        mirror = own[0] if own else first
        lines.append(f"deb [arch={architecture}{key}] {mirror.address} {suite} main\n")
    return "".join(lines)


def _configuration(root: Path, architectures: Sequence[str]) -> str:
    listed = " ".join(f'"{name}";' for name in architectures)
    return f"""\
APT::Architecture "{architectures[0]}";
APT::Architectures {{ {listed} }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::SourceList "{root}/sources.list";
Dir::Etc::SourceParts "{root}/parts";
"""
