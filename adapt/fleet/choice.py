"""A device and how it shall run networks, as a user asks for it.

local   pixel-6,threads=4   local,backend=builtin,label=plain
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapt.errors import UsageError
from adapt.fleet.simulated.profile import absolute_name

__all__ = ["DeviceChoice", "core_mask_of", "parse_choices"]

# More than anybody would wait for: each is measured by itself.
MAX_DEVICES = 16

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

# What may follow a device's name, and the field that it is for.
_KEYS = {
    "label": "label",
    "backend": "backend",
    "threads": "threads",
    "cores": "cores",
    "core-mask": "core_mask",
    "agent-python": "agent_python",
    "binary": "binary",
}


class DeviceChoice(BaseModel):
    """One device, and how its runtime runs networks.

    `text` is how it was asked for; what that leaves open was said of all devices. `label` is what
    it is called in budgets and reports. `threads` are those of its runtime, `cores` those that it
    may use unless `core_mask`, bit i for CPU i, is not 0. `agent_python` is the Python that runs
    the agent; `binary` and its flags are the program of the backend benchmark-model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = "local"
    name: str = "local"
    label: str = "local"
    backend: Literal["xnnpack", "builtin", "benchmark-model"] = "xnnpack"
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    cores: Literal["big", "little", "all"] = "big"
    core_mask: Annotated[int, Field(ge=0, lt=1 << 64)] = 0
    agent_python: Path | None = None
    binary: Path | None = None
    binary_flags: tuple[str, ...] = ()

    @property
    def runtime(self) -> str:
        """How it runs networks, for people."""
        threads = f"{self.threads} thread" + ("s" if self.threads > 1 else "")
        cores = f"core mask {self.core_mask:#x}" if self.core_mask else f"{self.cores} cores"
        return f"{self.backend}, {threads}, {cores}"

    @property
    def said(self) -> frozenset[str]:
        """The fields that `text` states."""
        return frozenset(_parsed(self.text)[1])


def parse_choices(texts: Sequence[str], common: Mapping[str, Any]) -> list[DeviceChoice]:
    """The devices that `texts` ask for, each NAME or NAME,KEY=VALUE,...

    `common` are fields that hold where a text says nothing else. A device is called by its label,
    or else by its name; where another one has the same name, as it was asked for. UsageError for
    what is not understood, and for devices that could not be told apart.
    """
    if len(texts) > MAX_DEVICES:
        raise UsageError(f"{len(texts)} devices", f"Give at most {MAX_DEVICES}.")
    parsed = [_parsed(text) for text in texts]
    names = Counter(name for name, _ in parsed)
    choices = []
    for text, (name, said) in zip(texts, parsed, strict=True):
        label = name if names[name] == 1 else text
        try:
            own = {"text": text, "name": absolute_name(name), "label": label, **said}
            choices.append(DeviceChoice(**{**common, **own}))
        except ValidationError as error:
            raise _not_understood(text, said, error) from error
    labels = Counter(choice.label for choice in choices)
    for label, count in labels.items():
        if count > 1:
            raise UsageError(
                f"{count} devices are called {label}",
                f"Say how they differ, as --device {label},threads=2; or give one a name of its"
                f" own, as --device {label},label=second.",
            )
    return choices


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """The name, and the fields that `text` states."""
    name, *parts = text.split(",")
    said: dict[str, Any] = {}
    for part in parts:
        key, sign, value = part.partition("=")
        field = _KEYS.get(key)
        if not (sign and value) or field is None or field in said:
            raise UsageError(
                f"--device {text}: {part!r} is not understood",
                f"After a comma comes one of {', '.join(_KEYS)}, with a value, each once:"
                " --device local,threads=2.",
            )
        said[field] = value
    if not name:
        raise UsageError(f"--device {text}: no name", "`adapt devices` lists all devices.")
    if "label" in said and not _LABEL.fullmatch(said["label"]):
        raise UsageError(
            f"--device {text}: {said['label']!r} cannot be a label",
            "Take letters, digits, dots, colons, dashes and underscores.",
        )
    if "core_mask" in said:
        said["core_mask"] = core_mask_of(said["core_mask"])
    for field in ("agent_python", "binary"):
        if field in said:
            said[field] = Path(said[field]).absolute()
    return name, said


def core_mask_of(text: str) -> int:
    """The number that a user gave as a core mask; UsageError where it is none."""
    try:
        return int(text, 0)
    except ValueError as error:
        raise UsageError(f"not a core mask: {text!r}", "Give a number such as 0xf0.") from error


def _not_understood(text: str, said: Mapping[str, Any], error: ValidationError) -> UsageError:
    first = error.errors()[0]
    field = str(first["loc"][0])
    key = field.replace("_", "-")
    where = f"--device {text}: {key}" if field in said else f"--{key}"
    return UsageError(f"{where} {first['input']}: {first['msg']}", "See adapt run --help.")
