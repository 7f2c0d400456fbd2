"""What a bundle is made of: the lock, programs for the device, and the file itself."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.errors import InputError
from adapt.fleet.bundle import RUNTIMES, adopted, bundled, open_bundle
from adapt.fleet.bundle.archive import Manifest, pack
from adapt.fleet.bundle.elf import read_elf, stripped
from adapt.fleet.bundle.lock import DEFAULT_LOCK, read_lock
from adapt.fleet.bundle.sources import Parts

MANIFEST = Manifest("ai-edge-litert", "2.3.0", "0" * 16, "3.11", "0.1.0")


def make_bundle(folder: Path, manifest: Manifest = MANIFEST) -> Path:
    """A bundle of one script, which is enough to be pushed, unpacked and started."""
    root = folder / "root"
    (root / "lib").mkdir(parents=True)
    (root / "agent").write_text("echo started with $1\n")
    (root / "lib/content").write_bytes(bytes(range(256)) * 100)
    path = folder / "small.tar.gz"
    pack(root, manifest, path)
    return path


def test_the_committed_lock_is_whole() -> None:
    lock = read_lock()
    for runtime in RUNTIMES:
        names = [wheel.name for wheel in lock.wheels_of(runtime)]
        assert {runtime, "numpy", "grpcio", "protobuf"} <= set(names)
        assert len(set(names)) == len(names)
    assert {p.architecture for p in lock.packages} == {"arm64"}
    assert {p.architecture for p in lock.tools} == {"amd64"}
    assert "://" not in DEFAULT_LOCK.read_text()


def test_the_build_id_follows_every_part_of_the_runtime() -> None:
    lock = read_lock()
    ids = {runtime: lock.build_id(runtime) for runtime in RUNTIMES}
    assert len(set(ids.values())) == len(RUNTIMES)
    other_libc = replace(lock.packages[0], sha256="0" * 64)
    changed = replace(lock, packages=(other_libc, *lock.packages[1:]))
    assert all(changed.build_id(runtime) != ids[runtime] for runtime in RUNTIMES)
    # Tools leave no trace in the bundle's speed.
    assert replace(lock, tools=lock.tools[1:]).build_id(RUNTIMES[0]) == ids[RUNTIMES[0]]


@pytest.mark.parametrize(
    "damage",
    [
        ('suite = "bookworm"', 'suite = "book worm; rm"'),
        ('name = "libc6"', 'name = "../libc6"'),
        ('architecture = "arm64"', "architecture = 64"),
        ("[[wheel]]", "[wheel]"),
        ('sha256 = "', 'sha256 = "0'),
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, damage: tuple[str, str]) -> None:
    path = tmp_path / "lock.toml"
    path.write_text(DEFAULT_LOCK.read_text().replace(*damage))
    with pytest.raises(InputError, match="is no lock file"):
        read_lock(path)


def test_a_stripped_program_runs_as_before(tmp_path: Path) -> None:
    program = tmp_path / "true"
    content = Path("/bin/ls").read_bytes()
    program.write_bytes(stripped(content))
    program.chmod(0o755)
    assert program.stat().st_size < len(content)
    done = subprocess.run([program, DEFAULT_LOCK], capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(DEFAULT_LOCK)
    facts = read_elf(content)
    assert "libc.so.6" in facts.needed
    assert facts == read_elf(program.read_bytes())


def test_damaged_programs_are_refused() -> None:
    content = Path("/bin/ls").read_bytes()
    for damaged in (b"", b"#!/bin/sh\n", content[:40], content[:2000], content[:-1000][:70]):
        with pytest.raises(ValueError, match=r"ELF|damaged|beyond"):
            read_elf(damaged)
    # A name table that points nowhere: nothing but an error may come of any flipped byte.
    for place in range(0, 2000, 7):
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        try:
            read_elf(bytes(flipped))
        except ValueError:
            continue


def test_a_bundle_is_the_same_whoever_makes_it(tmp_path: Path) -> None:
    first = open_bundle(make_bundle(tmp_path / "a"))
    second = open_bundle(make_bundle(tmp_path / "b"))
    assert first.sha256 == second.sha256
    assert first.manifest == MANIFEST
    with tarfile.open(first.path) as archive:
        assert archive.getmember("agent").mode == 0o755
        assert archive.getmember("lib/content").mode == 0o644
        assert {member.mtime for member in archive} == {archive.getmember("agent").mtime}


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    good = make_bundle(tmp_path).read_bytes()
    path = tmp_path / "other.tar.gz"
    for content in (b"", b"text", good[: len(good) // 2], good[:-4]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is no bundle"):
            open_bundle(path)
    with pytest.raises(InputError, match="No such file"):
        open_bundle(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "lib/../../escape"])
def test_a_bundle_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(make_bundle(tmp_path)) as good, tarfile.open(path, "w:gz") as evil:
        for member in good:
            evil.addfile(member, good.extractfile(member))
        evil.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(InputError, match="has no place"):
        open_bundle(path)


def test_a_bundle_with_links_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    link = tarfile.TarInfo("lib/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/data"
    with tarfile.open(make_bundle(tmp_path)) as good, tarfile.open(path, "w:gz") as evil:
        member = good.getmember("bundle.json")
        evil.addfile(member, good.extractfile(member))
        evil.addfile(link)
    with pytest.raises(InputError, match="has no place"):
        open_bundle(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_extended_header_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes
) -> None:
    path = tmp_path / "evil.tar.gz"
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 300 << 20
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1 << 20))
    asked: list[int] = []
    read = gzip.GzipFile.read

    def watched(stream: gzip.GzipFile, size: int | None = -1) -> bytes:
        asked.append(-1 if size is None else size)
        return read(stream, size)

    monkeypatch.setattr(gzip.GzipFile, "read", watched)
    with pytest.raises(InputError, match="'header' has no place"):
        open_bundle(path)
    assert set(asked) == {tarfile.BLOCKSIZE}


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    sparse = tarfile.TarInfo("lib/sparse")
    sparse.type = tarfile.GNUTYPE_SPARSE
    with tarfile.open(make_bundle(tmp_path)) as good, tarfile.open(path, "w:gz") as evil:
        member = good.getmember("bundle.json")
        evil.addfile(member, good.extractfile(member))
        evil.addfile(sparse)
    with pytest.raises(InputError, match="has no place"):
        open_bundle(path)


def test_a_file_of_less_than_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    member = tarfile.TarInfo("lib/negative")
    member.size = -512
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 20))
    with pytest.raises(InputError, match="has -512 bytes"):
        open_bundle(path)


def test_a_manifest_of_many_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    member = tarfile.TarInfo("bundle.json")
    member.size = 4000
    with tarfile.open(path, "w:gz") as evil:
        evil.addfile(member, io.BytesIO(b"[" * member.size))
    with pytest.raises(InputError, match="recursion"):
        open_bundle(path)


def test_a_bundle_from_elsewhere_is_used_from_then_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    taken = adopted(home, make_bundle(tmp_path))
    assert bundled(home, "ai-edge-litert") == taken
    assert taken.path.is_relative_to(home)


@pytest.mark.parametrize("runtime", ["../../escape", "/absolute/escape", "", "other"])
def test_a_bundle_of_an_unknown_runtime_is_refused(tmp_path: Path, runtime: str) -> None:
    file = make_bundle(tmp_path, replace(MANIFEST, runtime=runtime))
    with pytest.raises(InputError, match="its runtime is"):
        adopted(tmp_path / "home", file)


def test_what_was_copied_is_what_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes another one between the look at it and the copy."""
    file = make_bundle(tmp_path)
    other = make_bundle(tmp_path / "other", replace(MANIFEST, runtime="tflite-runtime"))
    copy = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: copy(other, target))
    taken = adopted(tmp_path / "home", file)
    assert taken.path.name.startswith("tflite-runtime-")


def test_a_machine_without_sources_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="cannot run apt-get") as caught:
        bundled(tmp_path)
    assert "--from FILE" in caught.value.todo
    assert not list(tmp_path.glob("bundles/*.tar.gz"))


def test_a_part_of_another_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pip that brings something else: the hash decides, whoever served it."""
    lock = read_lock()
    parts = Parts(tmp_path / "parts")
    for package in (*lock.packages, *lock.tools):
        parts.path(package).touch()
    impostor = tmp_path / "pip"
    impostor.write_text(
        '#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\necho x > "$2/x.whl"\n'
    )
    impostor.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(impostor))
    with pytest.raises(InputError, match="have another file for grpcio"):
        parts.fetch(lock, RUNTIMES[0])
