"""Just enough of the ELF format to know what a file needs, and to leave out what it does not.

64-bit little-endian files, as devices have them. Nothing in a file is trusted: what does not hold
together is a ValueError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["AARCH64", "Elf", "is_elf", "read_elf", "stripped"]

# e_machine.
AARCH64 = 183

_MAGIC = b"\x7fELF\x02\x01"
# After e_ident: type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum,
# shentsize, shnum, shstrndx.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
# type, flags, offset, vaddr, paddr, filesz, memsz, align.
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")
# e_shoff; and e_shentsize, e_shnum, e_shstrndx.
_SHOFF_AT = 40
_SECTION_FIELDS_AT = 58
_PT_LOAD = 1
_PT_DYNAMIC = 2
_DT_NEEDED = 1
_DT_STRTAB = 5
MAX_SEGMENTS = 64
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int
    alignment: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Elf:
    """What a program or library is for, and which libraries it needs.

    `alignment` is the smallest of its loaded segments, bytes: no kernel whose pages are larger
    than that can load it.
    """

    machine: int
    alignment: int
    needed: tuple[str, ...]


def is_elf(content: bytes) -> bool:
    """Whether `content` begins as such a file does."""
    return content.startswith(_MAGIC)


def read_elf(content: bytes) -> Elf:
    """Read a file; ValueError where it is damaged or no 64-bit little-endian ELF file."""
    try:
        machine, segments = _segments(content)
        loads = [s for s in segments if s.kind == _PT_LOAD]
        if not loads:
            raise ValueError("nothing is loaded")
        needed = tuple(_needed(content, segments, loads))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged: {error}") from error
    return Elf(machine, min(s.alignment for s in loads), needed)


def stripped(content: bytes) -> bytes:
    """The same file without sections: a loader goes by segments alone.

    Symbols for debuggers, which wheels often bring, are in no segment and behind all of them.
    """
    _, segments = _segments(content)
    headers = _HEADER.unpack_from(content)[5] + len(segments) * _SEGMENT.size
    kept = bytearray(content[: max(headers, *(s.end for s in segments))])
    struct.pack_into("<Q", kept, _SHOFF_AT, 0)
    struct.pack_into("<HHH", kept, _SECTION_FIELDS_AT, 0, 0, 0)
    return bytes(kept)


def _segments(content: bytes) -> tuple[int, list[_Segment]]:
    """The machine, and all segments."""
    if not is_elf(content):
        raise ValueError("no 64-bit little-endian ELF file")
    fields = _HEADER.unpack_from(content)
    machine, start, size, count = fields[2], fields[5], fields[9], fields[10]
    if size != _SEGMENT.size or not 0 < count <= MAX_SEGMENTS:
        raise ValueError(f"{count} segments of {size} bytes each")
    segments = []
    for number in range(count):
        kind, _, offset, address, _, length, _, alignment = _SEGMENT.unpack_from(
            content, start + number * size
        )
        segments.append(_Segment(kind, offset, address, length, alignment))
    if any(s.end > len(content) for s in segments):
        raise ValueError("a segment reaches beyond the end")
    return machine, segments


def _needed(content: bytes, segments: list[_Segment], loads: list[_Segment]) -> list[str]:
    """The names in DT_NEEDED."""
    for segment in segments:
        if segment.kind == _PT_DYNAMIC:
            table = list(_DYNAMIC.iter_unpack(content[segment.offset : segment.end]))
            strings = [value for tag, value in table if tag == _DT_STRTAB]
            names = [value for tag, value in table if tag == _DT_NEEDED]
            return [_text(content, _place(loads, strings[0]) + name) for name in names]
    return []


def _place(loads: list[_Segment], address: int) -> int:
    """Where in the file an address of the loaded program is."""
    for segment in loads:
        if segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise ValueError(f"nothing is loaded at {address:#x}")


def _text(content: bytes, start: int) -> str:
    end = content.index(b"\0", start, start + MAX_NAME + 1)
    return content[start:end].decode("ascii")
