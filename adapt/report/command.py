"""The command line that asks for a job, so that a reader can ask for it, or one like it, again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from adapt.budget import RESOURCES, base
from adapt.fleet.choice import DeviceChoice
from adapt.job.request import JobRequest
from adapt.methods.base import Settings

__all__ = ["budget_for", "command"]

# Options of one value whose name is the field's; those at their default are left out.
_PLAIN_OPTIONS = (
    "method",
    "quantize",
    "energy",
    "holdout",
    "executor",
    "workers",
    "data_memory",
    "seed",
    "tables",
)

# Fields of a device, and the options that hold for all devices.
_DEVICE_OPTIONS = {
    "backend": "--backend",
    "threads": "--device-threads",
    "cores": "--cores",
    "core_mask": "--core-mask",
    "agent_python": "--agent-python",
    "binary": "--binary",
}

# Amounts from here on are rounded to whole units, smaller ones to hundredths.
_WHOLE_UNITS_FROM = 100.0


def command(request: JobRequest, budget: Sequence[str] | None = None) -> str:
    """The shell command that asks for `request`, or for the same with another `budget`.

    Where the request names a directory for the modules of its data, run it there.
    """
    words = ["adapt", "run", "--model", str(request.model), "--data", request.data]
    for text in request.budget if budget is None else budget:
        words += ["--budget", text]
    if budget is None and request.target_accuracy is not None:
        words += ["--target-accuracy", f"{request.target_accuracy:g}"]
        words += ["--minimise", request.minimise] if request.minimise != "latency" else []
    for baseline in request.compare:
        words += ["--compare", baseline]
    fields = type(request).model_fields
    for name in _PLAIN_OPTIONS:
        value = getattr(request, name)
        if value != fields[name].default:
            words += [_flag(name), str(value)]
    words += _device_words(request.devices)
    if request.pixel_range != fields["pixel_range"].default:
        words += ["--pixel-range", *map(str, request.pixel_range)]
    words += [
        _flag(name) for name in ("resize", "exact", "mixed_precision") if getattr(request, name)
    ]
    # The default is that of the machine, so another one would train with another number.
    words += ["--threads", str(request.threads)]
    for name, field in Settings.model_fields.items():
        value = getattr(request.settings, name)
        if isinstance(value, bool):
            words.append(_flag(name if value else f"no_{name}"))
        elif value != field.default:
            words += [_flag(name), str(value)]
    return shlex.join(words)


def budget_for(resource: str, value: float) -> str:
    """A budget that allows just `value`, in the resource's unit, rounded up."""
    unit = next(unit for unit, factor in RESOURCES[base(resource)].units.items() if factor == 1.0)
    if value >= _WHOLE_UNITS_FROM:
        return f"{resource}={math.ceil(value)}{unit}"
    return f"{resource}={math.ceil(value * 100) / 100:.2f}{unit}"


def _device_words(devices: Sequence[DeviceChoice]) -> list[str]:
    """The devices as they were asked for, and the options that held where they said nothing."""
    words = [] if [device.text for device in devices] == ["local"] else _texts(devices)
    for name, flag in _DEVICE_OPTIONS.items():
        default = DeviceChoice.model_fields[name].default
        silent = (getattr(device, name) for device in devices if name not in device.said)
        if (value := next(silent, default)) != default:
            words += [flag, str(value)]
    return words + [word for flag in devices[0].binary_flags for word in ("--binary-flag", flag)]


def _texts(devices: Sequence[DeviceChoice]) -> list[str]:
    return [word for device in devices for word in ("--device", device.text)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
