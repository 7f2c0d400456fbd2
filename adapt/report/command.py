"""The command line that asks for a job, so that a reader can ask for it, or one like it, again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from adapt.budget import RESOURCES
from adapt.job.request import JobRequest
from adapt.methods.base import Settings

__all__ = ["budget_for", "command"]

# Options of one value whose name is the field's; those at their default are left out.
_PLAIN_OPTIONS = (
    "device",
    "method",
    "quantize",
    "energy",
    "backend",
    "device_threads",
    "cores",
    "core_mask",
    "agent_python",
    "binary",
    "holdout",
    "seed",
    "tables",
)

# Amounts from here on are rounded to whole units, smaller ones to hundredths.
_WHOLE_UNITS_FROM = 100.0


def command(request: JobRequest, budget: Sequence[str] | None = None) -> str:
    """The shell command that asks for `request`, or for the same with another `budget`.

    Where the request names a directory for the modules of its data, run it there.
    """
    words = ["adapt", "run", "--model", str(request.model), "--data", request.data]
    for text in request.budget if budget is None else budget:
        words += ["--budget", text]
    for baseline in request.compare:
        words += ["--compare", baseline]
    fields = type(request).model_fields
    for name in _PLAIN_OPTIONS:
        value = getattr(request, name)
        if value != fields[name].default:
            words += [_flag(name), str(value)]
    for flag in request.binary_flags:
        words += ["--binary-flag", flag]
    if request.pixel_range != fields["pixel_range"].default:
        words += ["--pixel-range", *map(str, request.pixel_range)]
    words += [_flag(name) for name in ("resize", "exact") if getattr(request, name)]
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
    unit = next(unit for unit, factor in RESOURCES[resource].units.items() if factor == 1.0)
    if value >= _WHOLE_UNITS_FROM:
        return f"{resource}={math.ceil(value)}{unit}"
    return f"{resource}={math.ceil(value * 100) / 100:.2f}{unit}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
