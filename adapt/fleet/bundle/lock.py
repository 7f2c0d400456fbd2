"""What a bundle is made of, to the byte: packages and wheels by name, version and SHA-256.

The lock file (`bundle.toml`, written by tools/lock_bundle.py) names no address: where parts come
from is the business of the machine that builds, and whether they are the right ones is theirs.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.errors import InputError

__all__ = ["DEFAULT_LOCK", "RUNTIMES", "Lock", "Package", "Wheel", "read_lock"]

DEFAULT_LOCK = Path(__file__).with_name("bundle.toml")
# Runtimes that a bundle can have; the first unless another is asked for.
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
# As many digits as the runtime's native library has in a platform without a bundle.
BUILD_DIGITS = 16
MAX_LOCK_BYTES = 1 << 20
MAX_PARTS = 200

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,99}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~!-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUITE = re.compile(r"[a-z][a-z-]{0,30}")
_PYTHON = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the distribution, for one architecture as the distribution calls it."""

    name: str
    version: str
    architecture: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}:{self.architecture} {self.version}"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel for the device, and the runtimes whose bundles have it."""

    name: str
    version: str
    sha256: str
    runtimes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Lock:
    """What the bundles of all runtimes are made of.

    Attributes:
        suite: the release of the distribution that the packages are of, e.g. "bookworm".
        python: version of Python that they bring, e.g. "3.11".
        packages: for the device, `arm64`.
        tools: for the machine that builds, `amd64`: the same Python, to compile modules with.
        wheels: of all runtimes.
    """

    suite: str
    python: str
    packages: tuple[Package, ...]
    tools: tuple[Package, ...]
    wheels: tuple[Wheel, ...]

    def wheels_of(self, runtime: str) -> tuple[Wheel, ...]:
        """The wheels of the bundle with `runtime`."""
        return tuple(wheel for wheel in self.wheels if runtime in wheel.runtimes)

    def version_of(self, runtime: str) -> str:
        """The version of `runtime`; InputError where the lock does not have it."""
        for wheel in self.wheels_of(runtime):
            if wheel.name == runtime:
                return wheel.version
        raise InputError(f"the lock has no wheel of {runtime}", "run tools/lock_bundle.py")

    def build_id(self, runtime: str) -> str:
        """What tells the bundles of this lock from those of any other: hex digits.

        It follows the packages as well as the wheels: memory comes from the bundle's C library, and
        so do the copies that a kernel makes.
        """
        parts = [p.sha256 for p in self.packages] + [w.sha256 for w in self.wheels_of(runtime)]
        text = "\n".join([runtime, *sorted(parts)])
        return hashlib.sha256(text.encode()).hexdigest()[:BUILD_DIGITS]


def read_lock(path: Path = DEFAULT_LOCK) -> Lock:
    """The lock in a file; InputError where it is none."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_LOCK_BYTES)
        values = tomllib.loads(content.decode())
        lock = Lock(
            suite=_text(values, "suite", _SUITE),
            python=_text(values, "python", _PYTHON),
            packages=tuple(_packages(values, "package")),
            tools=tuple(_packages(values, "tool")),
            wheels=tuple(_wheels(values)),
        )
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no lock file of a bundle: {error}", "write one with tools/lock_bundle.py"
        ) from error
    return lock


def _packages(values: Mapping[str, Any], kind: str) -> Iterator[Package]:
    for entry in _tables(values, kind):
        yield Package(
            name=_text(entry, "name", _NAME),
            version=_text(entry, "version", _VERSION),
            architecture=_text(entry, "architecture", _NAME),
            sha256=_text(entry, "sha256", _SHA256),
        )


def _wheels(values: Mapping[str, Any]) -> Iterator[Wheel]:
    for entry in _tables(values, "wheel"):
        runtimes = entry.get("runtimes", RUNTIMES)
        if not set(runtimes) <= set(RUNTIMES):
            raise ValueError(f"runtimes: {runtimes}")
        yield Wheel(
            name=_text(entry, "name", _NAME),
            version=_text(entry, "version", _VERSION),
            sha256=_text(entry, "sha256", _SHA256),
            runtimes=tuple(runtimes),
        )


def _tables(values: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    entries = values.get(name)
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_PARTS:
        raise ValueError(f"[[{name}]]: 1 to {MAX_PARTS} of them are needed")
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"[[{name}]] is not a table")
    return entries


def _text(values: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r}")
    return value
