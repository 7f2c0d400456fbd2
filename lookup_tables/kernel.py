"""The two values that a table row is about: which kernel, on which platform.

Both are immutable, have one canonical text form that can be parsed back, and a content hash of
that text (`key`). Equal things have equal text on every machine and in every version, so a table
made elsewhere can be merged.

The text of a kernel reads like a signature::

    CONV_2D(float32[1,32,32,3], const float32[16,3,3,3], const float32[16])
        -> float32[1,32,32,16]; activation=RELU, padding=SAME, stride_h=1, stride_w=1

(one line in reality). A constant integer tensor that steers the operator, such as the paddings of
PAD or the axes of MEAN, shows its values: ``const int32[2]={1,2}``. A tensor quantised for each
channel names the axis: ``const int8/0[16,3,3,3]``. An input that is left out is ``none``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property

__all__ = ["Kernel", "Platform", "Tensor", "TextError"]

DTYPES = ("float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool")

# A kernel's text is stored and shown; nothing that a converter emits comes near this.
MAX_TEXT = 20_000


class TextError(ValueError):
    """A text that is not the canonical form of a kernel or platform."""


def content_hash(text: str) -> str:
    """First 32 hex digits of the SHA-256 of `text`: the key of a value in a table."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One operand of a kernel: element type and concrete shape.

    `values` is set only on small integer constants that steer the operator (axes, paddings,
    shapes), flattened row by row; `quantized_axis` only on tensors with one scale a channel.
    """

    dtype: str
    shape: tuple[int, ...]
    constant: bool = False
    values: tuple[int, ...] | None = None
    quantized_axis: int | None = None

    def __str__(self) -> str:
        axis = "" if self.quantized_axis is None else f"/{self.quantized_axis}"
        text = f"{self.dtype}{axis}[{','.join(map(str, self.shape))}]"
        if self.values is not None:
            text += "={" + ",".join(map(str, self.values)) + "}"
        return f"const {text}" if self.constant else text


_TENSOR = re.compile(
    r"(?P<const>const )?(?P<dtype>[a-z0-9]+)(?:/(?P<axis>\d+))?"
    r"\[(?P<shape>[0-9,]*)\](?:=\{(?P<values>[-0-9,]*)\})?"
)
# Each part ends at a character that it cannot hold: damaged text must not cost backtracking.
_KERNEL = re.compile(
    r"(?P<op>[A-Z][A-Z0-9_]*)\((?P<inputs>[^()]*)\) -> (?P<outputs>[^;]*)(?:; (?P<options>.*))?"
)
_OPTION = re.compile(r"(?P<name>[a-z][a-z0-9_]*)=(?P<value>[A-Za-z0-9_.+-]+)")


def _parse_tensor(text: str) -> Tensor | None:
    if text == "none":
        return None
    match = _TENSOR.fullmatch(text)
    if match is None or match["dtype"] not in DTYPES:
        raise TextError(f"not a tensor: {text!r}")
    return Tensor(
        dtype=match["dtype"],
        shape=_integers(match["shape"]),
        constant=match["const"] is not None,
        values=None if match["values"] is None else _integers(match["values"]),
        quantized_axis=None if match["axis"] is None else int(match["axis"]),
    )


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError as error:
        raise TextError(f"not a list of integers: {text[:200]!r}") from error


def _split(text: str) -> list[str]:
    return text.split(", ") if text else []


@dataclass(frozen=True)
class Kernel:
    """One fused TFLite operator instance with concrete shapes, options and element types.

    `op` is the builtin operator's name in the TFLite schema. `inputs` follow the schema's order;
    None stands for an optional input that is absent. `options` are the builtin options by schema
    field (enum members by name), sorted by name; those at the schema's default are included, so
    that equal kernels are equal text.
    """

    op: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def make(
        cls,
        op: str,
        inputs: Iterable[Tensor | None],
        outputs: Iterable[Tensor],
        options: Mapping[str, object] | None = None,
    ) -> Kernel:
        """Build a kernel with `options` in canonical order and spelling."""
        spelled = sorted((name, _spell(value)) for name, value in (options or {}).items())
        return cls(op, tuple(inputs), tuple(outputs), tuple(spelled))

    @cached_property
    def text(self) -> str:
        """The canonical form."""
        inputs = ", ".join("none" if t is None else str(t) for t in self.inputs)
        outputs = ", ".join(map(str, self.outputs))
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.op}({inputs}) -> {outputs}" + (f"; {options}" if options else "")

    @cached_property
    def key(self) -> str:
        """Content hash of the canonical form, 32 hex digits."""
        return content_hash(self.text)

    @property
    def dtype(self) -> str:
        """Element type of the data: that of the first activation, else of the first output."""
        for tensor in self.inputs:
            if tensor is not None and not tensor.constant:
                return tensor.dtype
        return self.outputs[0].dtype

    def option(self, name: str) -> str:
        """Value of one option; KeyError where the kernel has none of that name."""
        return dict(self.options)[name]

    @classmethod
    def parse(cls, text: str) -> Kernel:
        """The kernel whose canonical form is `text`; raises TextError for any other text."""
        match = _KERNEL.fullmatch(text) if len(text) <= MAX_TEXT else None
        if match is None:
            raise TextError(f"not a kernel: {text[:200]!r}")
        outputs = [_parse_tensor(t) for t in _split(match["outputs"])]
        options = [_OPTION.fullmatch(o) for o in _split(match["options"] or "")]
        kernel = cls(
            match["op"],
            tuple(_parse_tensor(t) for t in _split(match["inputs"])),
            tuple(t for t in outputs if t is not None),
            tuple((o["name"], o["value"]) for o in options if o is not None),
        )
        if kernel.text != text:
            raise TextError(f"not the canonical form of a kernel: {text[:200]!r}")
        return kernel

    def __str__(self) -> str:
        return self.text


def _spell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Platform:
    """What two measurements must share to be comparable.

    `runtime_build` identifies the native library, since two builds of one version differ in speed;
    `core_mask` has bit i set where logical CPU i may be used, 0 for all.
    """

    device_model: str
    soc: str
    os_build: str
    runtime: str
    runtime_version: str
    runtime_build: str
    backend: str
    threads: int
    core_mask: int = 0

    @cached_property
    def text(self) -> str:
        """The canonical form: JSON with sorted keys and no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @cached_property
    def key(self) -> str:
        """Content hash of the canonical form, 32 hex digits."""
        return content_hash(self.text)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """The platform whose canonical form is `text`; raises TextError for any other text."""
        try:
            platform = cls(**json.loads(text[: MAX_TEXT + 1]))
        except (ValueError, TypeError, RecursionError) as error:
            raise TextError(f"not a platform: {text[:200]!r}") from error
        for field in fields(cls):
            kind = int if field.name in ("threads", "core_mask") else str
            if type(getattr(platform, field.name)) is not kind:
                raise TextError(f"{field.name} of a platform is not of type {kind.__name__}")
        if platform.text != text:
            raise TextError(f"not the canonical form of a platform: {text[:200]!r}")
        return platform

    def __str__(self) -> str:
        cores = f", cores {self.core_mask:#x}" if self.core_mask else ""
        return (
            f"{self.device_model} ({self.soc}), {self.runtime} {self.runtime_version}"
            f" [{self.runtime_build[:8]}], {self.backend}, {self.threads} thread(s){cores}"
        )
