"""The files of a bundle: unpacked, without what the agent never uses, checked and compiled.

    agent                 starts the agent, for a shell
    bin/python3.11
    lib/                  the C library and what else programs and modules need
    lib/python3.11/       the standard library
    site-packages/        the wheels, and the agent itself
    licences/             of the packages; those of wheels lie in their *.dist-info

Modules are compiled, and their sources left out: a phone would compile them anew at each start, for
the bundle is never written to.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from adapt.errors import InputError
from adapt.fleet.bundle.elf import AARCH64, Elf, is_elf, read_elf, stripped
from adapt.fleet.bundle.lock import Lock
from adapt.fleet.bundle.programs import FROM_ELSEWHERE, run
from adapt.fleet.bundle.sources import Parts

__all__ = ["agent_sources", "make_tree"]

AGENT = Path(__file__).parents[3] / "device_agent"
LOADER = "ld-linux-aarch64.so.1"
# Pages of 16 KiB are usual on new phones, of 64 KiB on some boards; the loader refuses less.
LEAST_ALIGNMENT = 16 << 10
MAX_WHEEL_BYTES = 200 << 20

# Below the standard library: for developers, for terminals and windows, for services of a host.
UNUSED_MODULES = frozenset(
    {
        "__phello__", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc.py",
        "pydoc_data", "sqlite3", "test", "tkinter", "turtle.py", "turtledemo", "unittest", "venv",
        "wsgiref", "xmlrpc",
    }
)  # fmt: skip
# Below lib-dynload: for tests of Python itself, for Asian encodings, for sound.
UNUSED_EXTENSIONS = ("_test", "_xx", "xx", "_ctypes_test", "_codecs_", "audioop", "ossaudiodev")
# Below site-packages: tests, headers, compilers of models and accelerators that no backend uses.
UNUSED_IN_WHEELS = (
    "**/tests",
    "numpy/_core/include",
    "numpy/core/include",
    "numpy/distutils",
    "numpy/f2py",
    "numpy/testing",
    "ai_edge_litert/aot",
    "ai_edge_litert/tools",
    "ai_edge_litert/schema_py_generated.py",
    "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
)
UNUSED_SUFFIXES = frozenset({".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pyi", ".pyx", ".typed"})
# Of a wheel's description: its name and version are asked for by the agent.
KEPT_DESCRIPTION = ("METADATA", "LICEN", "COPYING", "NOTICE", "licenses")

AGENT_SCRIPT = """\
#!/system/bin/sh
# Starts the agent of this bundle: sh FOLDER/agent --listen ADDRESS --token-stdin
# The loader is called by name, since a phone has none where programs expect it. For tests on
# another machine, DEVICE_AGENT_EMULATOR is put before it.
here=$(cd "${{0%/*}}" && pwd) || exit 1
python="$here/lib/{loader} --library-path $here/lib --argv0 python3 $here/bin/python{version}"
export DEVICE_AGENT_PYTHON="$DEVICE_AGENT_EMULATOR $python"
export DEVICE_AGENT_BUILD={build}
export PYTHONHOME="$here" PYTHONPATH="$here/site-packages" PYTHONUTF8=1 LC_ALL=C.UTF-8
export HOME="$here" TMPDIR="${{TMPDIR:-$here}}"
# Phones since Android 11 can hold their clocks; also where the host is lost, they let go of it.
hold() {{ [ -x /system/bin/cmd ] && cmd power set-fixed-performance-mode-enabled "$1" >&2; }}
trap 'hold false' HUP INT TERM
hold true
$DEVICE_AGENT_PYTHON -s -m device_agent "$@"
status=$?
hold false
exit $status
"""


def make_tree(root: Path, scratch: Path, lock: Lock, runtime: str, parts: Parts) -> None:
    """Make all files of the bundle in `root`, an empty folder; all parts have been fetched.

    `scratch` is an empty folder beside it. InputError where the parts do not make a bundle.
    """
    device, host = scratch / "device", scratch / "host"
    for packages, folder in ((lock.packages, device), (lock.tools, host)):
        folder.mkdir(parents=True)
        for package in packages:
            run(["dpkg-deb", "--extract", str(parts.path(package)), str(folder)])
    python = f"python{lock.python}"
    (root / "bin").mkdir()
    shutil.copy(device / "usr/bin" / python, root / "bin" / python)
    modules = root / "lib" / python
    shutil.copytree(device / "usr/lib" / python, modules, ignore=_unused_modules, symlinks=False)
    site = root / "site-packages"
    for wheel in lock.wheels_of(runtime):
        _unpack_wheel(parts.path(wheel), site)
    _prune_wheels(site)
    for source in agent_sources():
        target = site / AGENT.name / source.relative_to(AGENT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    _keep_licences(device / "usr/share/doc", root / "licences")
    _add_libraries(root, _libraries(device), optional=modules / "lib-dynload")
    _compile(root, host, python)
    script = AGENT_SCRIPT.format(loader=LOADER, version=lock.python, build=lock.build_id(runtime))
    (root / "agent").write_text(script)


def agent_sources() -> list[Path]:
    """The modules of the agent, in one order."""
    return sorted(path for path in AGENT.rglob("*.py") if "__pycache__" not in path.parts)


def _unused_modules(folder: str, names: list[str]) -> set[str]:
    unused = UNUSED_MODULES | {"__pycache__", "EXTERNALLY-MANAGED"}
    extensions = folder.endswith("lib-dynload")
    return {
        name
        for name in names
        if name in unused or (extensions and name.startswith(UNUSED_EXTENSIONS))
    }


def _unpack_wheel(wheel: Path, site: Path) -> None:
    """Unpack a wheel; InputError for one that would write elsewhere or has too much in it."""
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
        names = [PurePosixPath(member.filename) for member in members]
        if any(name.is_absolute() or ".." in name.parts for name in names):
            raise InputError(f"{wheel} would write outside of the bundle", FROM_ELSEWHERE)
        if sum(member.file_size for member in members) > MAX_WHEEL_BYTES:
            raise InputError(f"{wheel} has more than {MAX_WHEEL_BYTES} bytes", FROM_ELSEWHERE)
        archive.extractall(site)


def _prune_wheels(site: Path) -> None:
    for pattern in UNUSED_IN_WHEELS:
        for path in list(site.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in list(_files(site)):
        description = path.relative_to(site).parts
        is_description = description[0].endswith(".dist-info")
        unused = path.suffix in UNUSED_SUFFIXES or (
            is_description and not description[1].startswith(KEPT_DESCRIPTION)
        )
        if unused:
            path.unlink()


def _keep_licences(documents: Path, folder: Path) -> None:
    folder.mkdir()
    for path in sorted(documents.glob("*/copyright")):
        shutil.copy(path, folder / path.parent.name)


def _libraries(device: Path) -> dict[str, Path]:
    """The libraries of the packages by the names that programs ask for."""
    folders = (device / "lib", device / "usr/lib")
    triple = "aarch64-linux-gnu"
    found = {}
    for folder in (*folders, *(folder / triple for folder in folders)):
        for path in folder.glob("*.so*"):
            if path.resolve().is_file():
                found[path.name] = path.resolve()
    return found


def _add_libraries(root: Path, known: dict[str, Path], optional: Path) -> None:
    """Strip all programs and modules, and add the libraries that they need to root/lib.

    A module in `optional` that needs one which is not at hand is left out. InputError where
    another does, or where a file is for another machine or for small pages only.
    """
    lib = root / "lib"
    own = {path.name for path in _files(root / "site-packages") if ".so" in path.name}
    todo = [path for path in _files(root) if _begins_as_elf(path)]
    # Programs name it as their interpreter; nothing else may need it.
    _take(LOADER, "every program", known, lib)
    while todo:
        path = todo.pop()
        content = path.read_bytes()
        facts = _checked(path, content)
        missing = [n for n in facts.needed if n not in own and not (lib / n).exists()]
        if path.parent == optional and not set(missing) <= set(known):
            path.unlink()
            continue
        path.write_bytes(stripped(content))
        for name in missing:
            todo.append(_take(name, str(path.relative_to(root)), known, lib))


def _take(name: str, needs_it: str, known: Mapping[str, Path], lib: Path) -> Path:
    """Copy a library into the bundle; InputError where no package has it."""
    if name not in known:
        raise InputError(
            f"{needs_it} needs {name}, which the bundle does not have",
            "add the package that has it in tools/lock_bundle.py",
        )
    return Path(shutil.copy(known[name], lib / name))


def _checked(path: Path, content: bytes) -> Elf:
    try:
        facts = read_elf(content)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}", FROM_ELSEWHERE) from error
    if facts.machine != AARCH64:
        raise InputError(f"{path} is not for aarch64 (machine {facts.machine})", FROM_ELSEWHERE)
    if facts.alignment < LEAST_ALIGNMENT:
        raise InputError(
            f"{path} cannot be loaded where pages have {LEAST_ALIGNMENT} bytes",
            "lock another version of it with tools/lock_bundle.py",
        )
    return facts


def _begins_as_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return is_elf(file.read(16))


def _compile(root: Path, host: Path, python: str) -> None:
    """Replace all modules by compiled ones, which only this Python reads.

    The same Python for this machine compiles, out of the tool packages: whatever runs adapt, the
    bundle is the same.
    """
    libraries = ":".join(
        str(host / f) for f in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
    )
    loader = host / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    command = [str(loader), "--library-path", libraries, str(host / "usr/bin" / python), "-S"]
    command += ["-m", "compileall", "-q", "-b", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(root), str(root)]
    environment = {
        "PYTHONHOME": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",
        # The order of constants in a set follows it.
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
    }
    run(command, environment=environment)
    for path in list(_files(root)):
        if path.suffix == ".py":
            if not path.with_suffix(".pyc").exists():
                raise InputError(f"{path.relative_to(root)} was not compiled", FROM_ELSEWHERE)
            path.unlink()


def _files(root: Path) -> Iterator[Path]:
    """All files below `root`, in one order."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            yield Path(folder) / name
