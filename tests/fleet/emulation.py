"""Aarch64 programs on this machine: the bundle, and an emulator that runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from adapt.errors import InputError
from adapt.fleet.bundle import Bundle, bundled
from adapt.fleet.bundle.programs import run
from adapt.fleet.bundle.sources import Apt

# Older ones crash in instructions that ai-edge-litert 2.2 and later use.
LEAST_VERSION = 10
# The first release of Debian that has it, and the package.
SUITE, PACKAGE = "trixie", "qemu-user"


def cache() -> Path:
    """Where what took long to fetch or make is kept between runs."""
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "adapt-tests"


def emulator() -> Path:
    """A qemu that runs aarch64 programs as they are; the test is skipped where none can be had."""
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        found = shutil.which(name)
        if found and _version(Path(found)) >= LEAST_VERSION:
            return Path(found)
    kept = cache() / "qemu-aarch64"
    if not kept.exists():
        try:
            _fetch(kept)
        except InputError as error:
            pytest.skip(f"no qemu-aarch64 of version {LEAST_VERSION} or later: {error.what}")
    return kept


def aarch64_bundle(runtime: str) -> Bundle:
    """The bundle with `runtime`; the test is skipped where it cannot be made here."""
    try:
        return bundled(cache(), runtime)
    except InputError as error:
        pytest.skip(f"the bundle cannot be made here: {error.what}")


def unpacked(bundle: Bundle, folder: Path) -> Path:
    """The bundle's files below `folder`."""
    with tarfile.open(bundle.path) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _version(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"version (\d+)", said.stdout)
    return int(match[1]) if match else 0


def _fetch(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name, Apt(SUITE, ["amd64"]) as apt:
        apt.download([f"{PACKAGE}:amd64"], Path(name))
        (package,) = Path(name).glob("*.deb")
        run(["dpkg-deb", "--extract", str(package), f"{name}/files"])
        Path(name, "files/usr/bin/qemu-aarch64").replace(target)
