"""Networks as lists of shapes: those that come with the program, and files of users.

A line is what MIT's web tool for energy estimation reads, 25 numbers for each layer, separated by
commas or spaces:

    index, H W C N zeros bits of the ifmap, H W C M zeros bits of the filters,
    H W C N zeros bits of the ofmap, stride_y stride_x, padding top bottom left right

`zeros` counts zero values among all of that data. A convolution whose filters have 1/g of the
ifmap's channels has g groups. What follows a # is a comment; on a line with numbers it names the
layer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt.cost.eyeriss.layer import MAX_BITS, MAX_SIZE, Layer, Operand
from adapt.errors import InputError

__all__ = ["ShapeList", "built_in_lists", "read_built_in", "read_shape_list"]

_FOLDER = Path(__file__).parent / "shapes"
_SUFFIX = ".csv"

# A network has some thousands of layers at most; a line some hundred characters.
MAX_BYTES = 4 << 20
MAX_LAYERS = 20_000

_DATA = ("ifmap", "filter", "ofmap")
_FIELDS = (
    "index",
    *(
        f"{data} {name}"
        for data in _DATA
        for name in ("height", "width", "channels", "number", "zeros", "bits")
    ),
    "stride_y",
    "stride_x",
    *(f"{side} padding" for side in ("top", "bottom", "left", "right")),
)
_ZEROS_MAY_BE_LARGE = 1 << 50

_VALUE = re.compile(r"[^\s,]+")

_FORMAT = "docs/estimate.md describes the 25 numbers of a line."


@dataclass(frozen=True)
class ShapeList:
    """The layers of a network, and the number of images that the list was made for."""

    layers: tuple[Layer, ...]
    batch: int


def built_in_lists() -> list[str]:
    """Names of the networks that come with the program."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}"))


def read_built_in(name: str) -> ShapeList:
    """The network called `name`, one of `built_in_lists`."""
    return read_shape_list(_FOLDER / f"{name}{_SUFFIX}")


def read_shape_list(path: Path) -> ShapeList:
    """The network in a file of this format.

    InputError with line and column where it is not one, or a number is out of its range.
    """
    content = path.read_bytes()
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} has {len(content)} bytes", f"Valid: up to {MAX_BYTES}.")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: byte {error.start}", _FORMAT) from error
    found = []
    for number, line in enumerate(lines, 1):
        numbers, _, comment = line.partition("#")
        if numbers.strip():
            found.append(_Line(path, number, numbers, comment.strip()).parse())
        if len(found) > MAX_LAYERS:
            raise InputError(f"{path}:{number}: more than {MAX_LAYERS} layers", _FORMAT)
    if not found:
        raise InputError(f"{path} has no layers", _FORMAT)
    return ShapeList(tuple(layer for layer, _ in found), found[0][1])


class _Line:
    """One layer of a file; every message says where."""

    def __init__(self, path: Path, number: int, text: str, name: str) -> None:
        self._place = f"{path}:{number}"
        self._name = name
        self._columns: Sequence[int] = []
        matches = list(_VALUE.finditer(text))
        if len(matches) != len(_FIELDS):
            raise InputError(f"{self._place}: {len(matches)} numbers, not {len(_FIELDS)}", _FORMAT)
        self._columns = [match.start() + 1 for match in matches]
        self._values = {
            field: self._number(match[0], field, column)
            for field, match, column in zip(_FIELDS, matches, self._columns, strict=True)
        }

    def parse(self) -> tuple[Layer, int]:
        """The layer, and the images of its ifmap."""
        value = self._values
        padding_y = value["top padding"] + value["bottom padding"]
        padding_x = value["left padding"] + value["right padding"]
        channels = value["ifmap channels"]
        of_filter = value["filter channels"]
        if channels % of_filter:
            raise self._wrong("filter channels", f"a divisor of the ifmap's {channels}")
        self._same("ofmap channels", value["filter number"], "the number of filters")
        self._same("ofmap number", value["ifmap number"], "that of the ifmaps")
        for axis, stride, padding in (
            ("height", "stride_y", padding_y),
            ("width", "stride_x", padding_x),
        ):
            padded = value[f"ifmap {axis}"] + padding
            kernel = value[f"filter {axis}"]
            if kernel > padded:
                raise self._wrong(f"filter {axis}", f"1 to {padded}, the padded ifmap's {axis}")
            fits = (padded - kernel) // value[stride] + 1
            self._same(f"ofmap {axis}", fits, "what ifmap, filter, stride and padding give")
        try:
            layer = Layer(
                name=self._name or str(value["index"]),
                channels=channels,
                filters=value["filter number"],
                height=value["ifmap height"] + padding_y,
                width=value["ifmap width"] + padding_x,
                kernel_height=value["filter height"],
                kernel_width=value["filter width"],
                stride_y=value["stride_y"],
                stride_x=value["stride_x"],
                out_height=value["ofmap height"],
                out_width=value["ofmap width"],
                groups=channels // of_filter,
                ifmap=self._operand("ifmap"),
                ofmap=self._operand("ofmap"),
                weight=self._operand("filter"),
            )
        except InputError as error:
            raise InputError(f"{self._place}: {error.what}", error.todo) from error
        return layer, value["ifmap number"]

    def _number(self, text: str, field: str, column: int) -> int:
        least, most = _range(field)
        if not (text.isascii() and text.isdigit() and len(text) < 20) or not (
            least <= int(text) <= most
        ):
            raise InputError(
                f"{self._place}:{column}: {field} is {text[:40]!r}",
                f"Valid: a whole number, {least} to {most}.",
            )
        return int(text)

    def _operand(self, data: str) -> Operand:
        value = self._values
        size = 1
        for name in ("height", "width", "channels", "number"):
            size *= value[f"{data} {name}"]
        zeros = value[f"{data} zeros"]
        if zeros > size:
            raise self._wrong(f"{data} zeros", f"0 to {size}, the values that there are")
        return Operand(value[f"{data} bits"], 1 - zeros / size)

    def _same(self, field: str, expected: int, what: str) -> None:
        if self._values[field] != expected:
            raise self._wrong(field, f"{expected}, {what}")

    def _wrong(self, field: str, valid: str) -> InputError:
        column = self._columns[_FIELDS.index(field)]
        return InputError(
            f"{self._place}:{column}: {field} is {self._values[field]}", f"Valid: {valid}."
        )


def _range(field: str) -> tuple[int, int]:
    """What a field may hold, whatever the others say."""
    if field == "index" or field.endswith("padding"):
        return 0, MAX_SIZE
    if field.endswith("zeros"):
        return 0, _ZEROS_MAY_BE_LARGE
    if field.endswith("bits"):
        return 1, MAX_BITS
    return 1, MAX_SIZE
