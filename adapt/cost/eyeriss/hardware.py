"""Accelerators as data: sizes, access costs and speeds, read from TOML files."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from adapt.cost.eyeriss.layer import MAX_BITS
from adapt.errors import InputError, UsageError

__all__ = ["DEFAULT_HARDWARE", "Hardware", "hardware_names", "load_hardware"]

DEFAULT_HARDWARE = "eyeriss"

_FOLDER = Path(__file__).parent / "hardware"
_SUFFIX = ".toml"

# A file of this kind has some tens of lines.
_MAX_BYTES = 64 << 10

# Scratchpads of this many words and arrays of this many rows are beyond any accelerator; they
# bound the search.
_MAX_WORDS = 1 << 32
_MAX_ROWS = 1024
_MAX_SCRATCHPAD = 1 << 16


@dataclass(frozen=True)
class Hardware:
    """A spatial accelerator with a row-stationary dataflow.

    Attributes:
        description: one line for people.
        rows, columns: of the array of processing elements.
        ifmap_words, weight_words, psum_words: what the scratchpad of one element holds of each.
        shared_words: what it holds of all together; None where each kind has its own.
        buffer_words: room for ifmaps and partial sums in the buffer.
        all_buffer_words: `buffer_words` with what is kept for prefetching weights.
        dram, buffer, array, scratchpad: energy of one access of a word, in that of one MAC.
        word_bits: width of a word.
        clock_mhz: of the array; each element does one MAC a cycle.
        dram_mb_per_s: 10^6 bytes a second, both directions together.
        pj_per_mac: picojoules of one MAC of `word_bits`; None where unknown.
    """

    description: str
    rows: int
    columns: int
    ifmap_words: int
    weight_words: int
    psum_words: int
    shared_words: int | None
    buffer_words: int
    all_buffer_words: int
    dram: float
    buffer: float
    array: float
    scratchpad: float
    word_bits: int
    clock_mhz: float
    dram_mb_per_s: float
    pj_per_mac: float | None = None

    def access_cost(self, level: str) -> float:
        """Energy of one access of a word of "dram", "buffer", "array" or "scratchpad"."""
        return {
            "dram": self.dram,
            "buffer": self.buffer,
            "array": self.array,
            "scratchpad": self.scratchpad,
        }[level]


def hardware_names() -> list[str]:
    """The accelerators that come with the program."""
    return sorted(path.stem for path in _FOLDER.glob(f"*{_SUFFIX}"))


def load_hardware(which: str) -> Hardware:
    """The accelerator called `which`, or the one in the TOML file of that path.

    Raises:
        UsageError: there is neither.
        InputError: the file does not describe an accelerator; says which key, and its range.
    """
    if which in hardware_names():
        return _read(_FOLDER / f"{which}{_SUFFIX}")
    path = Path(which)
    if path.suffix.lower() == _SUFFIX and path.is_file():
        return _read(path)
    known = ", ".join(hardware_names())
    raise UsageError(
        f"no hardware {which!r}", f"Give one of {known}, or a {_SUFFIX} file made like theirs."
    )


@cache
def _read(path: Path) -> Hardware:
    content = path.read_bytes()[: _MAX_BYTES + 1]
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES} bytes")
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a hardware file: {error}", _EXAMPLE) from error
    return _Fields(path, table).hardware()


_EXAMPLE = "adapt/cost/eyeriss/hardware/eyeriss.toml is an example with every key."

_TABLES = {
    "array": ("rows", "columns"),
    "scratchpad": ("ifmap", "weight", "psum", "shared"),
    "buffer": ("words", "all_words"),
    "access": ("dram", "buffer", "array", "scratchpad"),
    "timing": ("word_bits", "clock_mhz", "dram_mb_per_s"),
    "technology": ("pj_per_mac",),
}


class _Fields:
    """The keys of one file, each with its range."""

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self._path = path
        self._table = table
        for section, keys in table.items():
            if section == "description":
                continue
            if section not in _TABLES or not isinstance(keys, dict):
                raise self._wrong(section, "is not a table of this format", ", ".join(_TABLES))
            for key in keys:
                if key not in _TABLES[section]:
                    known = ", ".join(_TABLES[section])
                    raise self._wrong(f"{section}.{key}", "is not a key of this format", known)

    def hardware(self) -> Hardware:
        shared = self._integer("scratchpad", "shared", _MAX_SCRATCHPAD, optional=True)
        ifmap, weight, psum = (
            self._integer("scratchpad", kind, shared or _MAX_SCRATCHPAD, optional=bool(shared))
            for kind in ("ifmap", "weight", "psum")
        )
        words = self._integer("buffer", "words", _MAX_WORDS)
        return Hardware(
            description=str(self._table.get("description", self._path.stem)),
            rows=self._integer("array", "rows", _MAX_ROWS),
            columns=self._integer("array", "columns", _MAX_ROWS),
            ifmap_words=ifmap or shared,
            weight_words=weight or shared,
            psum_words=psum or shared,
            shared_words=shared or None,
            buffer_words=words,
            all_buffer_words=self._integer("buffer", "all_words", _MAX_WORDS, optional=True)
            or words,
            dram=self._number("access", "dram"),
            buffer=self._number("access", "buffer"),
            array=self._number("access", "array"),
            scratchpad=self._number("access", "scratchpad"),
            word_bits=self._integer("timing", "word_bits", MAX_BITS),
            clock_mhz=self._number("timing", "clock_mhz"),
            dram_mb_per_s=self._number("timing", "dram_mb_per_s"),
            pj_per_mac=self._number("technology", "pj_per_mac")
            if "technology" in self._table
            else None,
        )

    def _integer(self, section: str, key: str, most: int, *, optional: bool = False) -> int:
        """A whole number from 1 to `most`; 0 where it is `optional` and not there."""
        value = self._table.get(section, {}).get(key)
        if value is None and optional:
            return 0
        if type(value) is not int or not 1 <= value <= most:
            raise self._wrong(f"{section}.{key}", f"is {value!r}", f"a whole number, 1 to {most}")
        return value

    def _number(self, section: str, key: str) -> float:
        value = self._table.get(section, {}).get(key)
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self._wrong(f"{section}.{key}", f"is {value!r}", "a number above 0")
        return float(value)

    def _wrong(self, key: str, what: str, valid: str) -> InputError:
        return InputError(f"{self._path}: {key} {what}", f"Valid: {valid}. {_EXAMPLE}")
