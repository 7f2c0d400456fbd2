"""What a simulated device is like: the file, checked, and how long it takes for a network."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from adapt.errors import InputError, UsageError
from adapt.tflite.quantities import activation_bytes, macs, weight_bytes
from lookup_tables.kernel import Kernel

__all__ = [
    "PREFIX",
    "Faults",
    "Latency",
    "Profile",
    "absolute_name",
    "profile_file",
    "read_profile",
]

# Before a profile's name in --device.
PREFIX = "simulated:"
MAX_BYTES = 64 << 10
LARGEST = 1e12
_FOLDER = Path(__file__).with_name("profiles")

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Latency:
    """How fast the device is.

    Attributes:
        call_us: of a kernel that does nothing, microseconds.
        gmacs: multiply-accumulates a second, thousand millions.
        gbytes: bytes of activations, and of weights that are in its cache, likewise.
        memory_gbytes: bytes of weights that are not, likewise.
        cache_bytes: so many weights a network may have for them to be in the cache.
        tile: channels that a kernel works on at a time.
        scatter: standard deviation of a window, as a share of its time.
    """

    call_us: float = 0.5
    gmacs: float = 20.0
    gbytes: float = 10.0
    memory_gbytes: float = 4.0
    cache_bytes: float = float(1 << 20)
    tile: float = 8.0
    scatter: float = 0.001

    def of_kernels(self, kernels: Sequence[Kernel]) -> float:
        """Microseconds of one run of them all."""
        cold = sum(map(weight_bytes, kernels)) > self.cache_bytes
        weight_rate = self.memory_gbytes if cold else self.gbytes
        return sum(self._of_kernel(kernel, weight_rate) for kernel in kernels)

    def _of_kernel(self, kernel: Kernel, weight_rate: float) -> float:
        channels = kernel.outputs[0].shape[-1] if kernel.outputs[0].shape else 1
        tiled = math.ceil(max(channels, 1) / self.tile) * self.tile / max(channels, 1)
        return (
            self.call_us
            + macs(kernel) * tiled / (self.gmacs * 1e3)
            + activation_bytes(kernel) / (self.gbytes * 1e3)
            + weight_bytes(kernel) / (weight_rate * 1e3)
        )


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, each behind so many models that were answered well; -1: never.

    Attributes:
        hang_after: the agent falls silent in the middle of a batch.
        vanish_after: it ends without a word.
        nan_after: times are not numbers.
        wrong_after: answers are for models that nobody asked about.
        throttle_after: everything takes `throttle_factor` times as long.
        slow_ms: each answer comes so late, milliseconds; at once.
    """

    hang_after: float = -1.0
    vanish_after: float = -1.0
    nan_after: float = -1.0
    wrong_after: float = -1.0
    throttle_after: float = -1.0
    throttle_factor: float = 2.0
    slow_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """A simulated device; `build` tells profiles apart that differ in anything."""

    name: str
    build: str
    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)


def profile_file(name: str) -> Path:
    """The file of a profile: a bundled one by its name, or any .toml file.

    UsageError where there is none, InputError where it is no profile.
    """
    file = Path(name) if name.endswith(".toml") else _FOLDER / f"{Path(name).name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in _FOLDER.glob("*.toml")))
        raise UsageError(f"no profile {name!r}", f"Give a .toml file, or one of: {known}.")
    read_profile(file)
    return file


def absolute_name(device: str) -> str:
    """The same device, named so that a profile's file is found from every folder."""
    file = device.removeprefix(PREFIX)
    if file == device or not file.endswith(".toml"):
        return device
    return f"{PREFIX}{Path(file).absolute()}"


def read_profile(file: Path) -> Profile:
    """The profile in `file`; InputError where it is not one."""
    try:
        with file.open("rb") as source:
            content = source.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{file} has more than {MAX_BYTES} bytes", "Is it a profile?")
        values = tomllib.loads(content.decode())
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file} is not TOML: {error}", "See docs/devices.md.") from error
    unknown = values.keys() - {"latency", "faults"}
    if unknown:
        raise InputError(f"{file}: unknown part {min(unknown)!r}", "There are latency and faults.")
    return Profile(
        file.stem,
        hashlib.sha256(content).hexdigest()[:16],
        _part(file, "latency", values, Latency, positive=True),
        _part(file, "faults", values, Faults, positive=False),
    )


def _part(
    file: Path, name: str, values: Mapping[str, Any], kind: type[Part], *, positive: bool
) -> Part:
    part = values.get(name, {})
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(part, dict):
        raise InputError(f"{file}: {name} is no table", f"Begin it with [{name}].")
    for key, value in part.items():
        where = f"{file}: {name}.{key}"
        if key not in known:
            raise InputError(f"{where} is unknown", f"There are: {', '.join(sorted(known))}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where} is no number", "Write it without quotes.")
        least = 0.0 if not positive or key == "scatter" else 1e-6
        if not (least <= value <= LARGEST or (not positive and value == -1)):
            raise InputError(f"{where} is {value}", f"It must be from {least:g} to {LARGEST:g}.")
    return kind(**{key: float(value) for key, value in part.items()})
