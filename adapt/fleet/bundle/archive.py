"""The file of a bundle: a compressed archive that is the same, byte for byte, whoever made it.

Its first member, `bundle.json`, says what it is. A bundle from elsewhere is not trusted to be one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Self

from adapt.errors import InputError
from adapt.fleet.bundle.lock import RUNTIMES

__all__ = ["Bundle", "Manifest", "open_bundle", "pack"]

MANIFEST = "bundle.json"
FORMAT = 1
MAX_MANIFEST_BYTES = 4096
MAX_TEXT = 100
# Several times what a bundle has.
MAX_FILE_BYTES = 200 << 20
MAX_CONTENT_BYTES = 1 << 30
MAX_MEMBERS = 20_000
# Writers fill up to a whole record.
MAX_PADDING_BYTES = 1 << 20
# 1 January 2000: some unpackers take 0 for "no time".
TIME = 946_684_800
_DAMAGES = (
    *(OSError, EOFError, ValueError, TypeError, StopIteration, tarfile.TarError, zlib.error),
    *(RecursionError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    `build` is the runtime build of platforms measured with it, see Lock.build_id.
    """

    runtime: str
    runtime_version: str
    build: str
    python: str
    agent: str
    architecture: str = "aarch64"
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on this host; `sha256` is of its file, `content_bytes` what it unpacks to."""

    path: Path
    manifest: Manifest
    sha256: str
    size: int
    content_bytes: int


def pack(root: Path, manifest: Manifest, path: Path) -> None:
    """Write the files below `root` as the bundle `path`."""
    text = json.dumps(asdict(manifest), sort_keys=True).encode() + b"\n"
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        archive.addfile(_member(MANIFEST, 0o644, len(text)), io.BytesIO(text))
        for source in sorted(root.rglob("*")):
            name = source.relative_to(root).as_posix()
            if source.is_dir():
                folder = _member(name, 0o755, 0)
                folder.type = tarfile.DIRTYPE
                archive.addfile(folder)
                continue
            runs = source.parent.name == "bin" or source.name.startswith(("agent", "ld-"))
            member = _member(name, 0o755 if runs else 0o644, source.stat().st_size)
            with source.open("rb") as content:
                archive.addfile(member, content)


def open_bundle(path: Path) -> Bundle:
    """The bundle in a file; InputError where it is none, or would write outside of its folder."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{size} bytes are too many")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with (
            gzip.open(path) as stream,
            tarfile.open(fileobj=stream, mode="r:", tarinfo=_Plain) as archive,
        ):
            members = _checked(archive)
            manifest = _manifest(archive, next(members))
            content = sum(member.size for member in members)
            # Up to the checksum at the end, which an archive's reader does not look at.
            if stream.read(MAX_PADDING_BYTES + 1)[MAX_PADDING_BYTES:]:
                raise ValueError("something follows its end")
    except _DAMAGES as error:
        # Of gzip's own errors there is no other text.
        why = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(
            f"{path} is no bundle: {why}", "make one with `adapt devices bundle`"
        ) from error
    return Bundle(path, manifest, digest, size, content)


def _member(name: str, mode: int, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode, member.size, member.mtime = mode, size, TIME
    return member


class _Plain(tarfile.TarInfo):
    """A file or a folder: ValueError for what else an archive can have.

    Said of a header alone, since reading on is what costs: extended headers and maps of sparse
    files take as much memory as they say they do.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            raise _out_of_place(member)
        if member.size < 0:
            raise ValueError(f"{member.name!r} has {member.size} bytes"[:MAX_TEXT])
        return member


def _out_of_place(member: tarfile.TarInfo) -> ValueError:
    return ValueError(f"{member.name!r} has no place in one")


def _checked(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members; ValueError for one that a bundle does not have."""
    content = 0
    for number, member in enumerate(archive):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise _out_of_place(member)
        content += member.size
        if number >= MAX_MEMBERS or content > MAX_CONTENT_BYTES:
            raise ValueError("there is too much in it")
        yield member


def _manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Manifest:
    file = archive.extractfile(member)
    if member.name != MANIFEST or file is None:
        raise ValueError(f"it does not begin with {MANIFEST}")
    values = json.loads(file.read(MAX_MANIFEST_BYTES))
    manifest = Manifest(**values)
    for field in fields(manifest):
        value = getattr(manifest, field.name)
        if not isinstance(value, int if field.name == "format" else str) or (
            len(str(value)) > MAX_TEXT
        ):
            raise ValueError(f"{field.name} of {MANIFEST} is {value!r}"[:MAX_TEXT])
    if (manifest.format, manifest.architecture) != (FORMAT, "aarch64"):
        raise ValueError(f"it is of format {manifest.format}, for {manifest.architecture}")
    if manifest.runtime not in RUNTIMES:
        # Files are named after it.
        raise ValueError(f"its runtime is {manifest.runtime!r}")
    return manifest
