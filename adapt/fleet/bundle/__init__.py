"""The agent for phones: one file with everything it needs, made of locked parts.

A phone has no Python, and no C library that TFLite's wheels can use. So its agent comes with
both: Debian's packages and the wheels for aarch64, started through the bundle's own loader.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import device_agent
from adapt.fleet.bundle.archive import Bundle, Manifest, open_bundle, pack
from adapt.fleet.bundle.install import clean, install
from adapt.fleet.bundle.lock import DEFAULT_LOCK, RUNTIMES, Lock, read_lock
from adapt.fleet.bundle.sources import Parts
from adapt.fleet.bundle.tree import AGENT, agent_sources, make_tree
from adapt.locks import locked

__all__ = [
    "DEFAULT_LOCK",
    "RUNTIMES",
    "Bundle",
    "adopted",
    "bundled",
    "clean",
    "install",
    "open_bundle",
]

KEY_DIGITS = 16
_RECIPE = Path(__file__).parent


def bundled(
    home: Path,
    runtime: str = RUNTIMES[0],
    lock_file: Path = DEFAULT_LOCK,
    say: Callable[[str], None] | None = None,
) -> Bundle:
    """The bundle with `runtime`, made where `home` does not have it; `say` gets what is done.

    Raises InputError where this machine cannot make it, Busy while another process does.
    """
    tell = say or (lambda words: None)
    lock = read_lock(lock_file)
    folder = home / "bundles"
    path = _place(folder, lock, runtime)
    if path.exists():
        return open_bundle(path)
    with locked(home / "locks" / "bundle.lock", "the making of a bundle"):
        parts = Parts(folder / "parts")
        tell("fetching packages and wheels")
        parts.fetch(lock, runtime)
        with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as name:
            root, scratch, file = (Path(name) / part for part in ("root", "scratch", "bundle"))
            root.mkdir()
            tell("unpacking and compiling")
            make_tree(root, scratch, lock, runtime, parts)
            tell("compressing")
            version = lock.version_of(runtime)
            build = lock.build_id(runtime)
            agent = device_agent.__version__
            pack(root, Manifest(runtime, version, build, lock.python, agent), file)
            open_bundle(file)
            for former in folder.glob(f"{runtime}-*.tar.gz"):
                former.unlink()
            file.replace(path)
    return open_bundle(path)


def adopted(home: Path, file: Path, lock_file: Path = DEFAULT_LOCK) -> Bundle:
    """A bundle that was made elsewhere, from now on the one that `bundled` gives.

    Raises InputError where `file` is no bundle.
    """
    open_bundle(file)
    folder = home / "bundles"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="taking-", dir=folder) as name:
        copy = Path(name) / "bundle"
        shutil.copyfile(file, copy)
        # What was copied is what counts, whatever became of `file` meanwhile.
        runtime = open_bundle(copy).manifest.runtime
        path = _place(folder, read_lock(lock_file), runtime)
        copy.replace(path)
    return open_bundle(path)


def _place(folder: Path, lock: Lock, runtime: str) -> Path:
    """Where the bundle of these parts and this agent, made by this recipe, is kept."""
    digest = hashlib.sha256(lock.build_id(runtime).encode())
    for base, sources in ((AGENT, agent_sources()), (_RECIPE, sorted(_RECIPE.glob("*.py")))):
        for source in sources:
            digest.update(str(source.relative_to(base)).encode() + b"\0")
            digest.update(hashlib.sha256(source.read_bytes()).digest())
    return folder / f"{runtime}-{digest.hexdigest()[:KEY_DIGITS]}.tar.gz"
