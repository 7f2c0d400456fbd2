"""Writes adapt/fleet/bundle/bundle.toml anew: newest packages of a release, wheels as chosen here.

    python tools/lock_bundle.py            # Debian 12, whose Python both runtimes have wheels for

Run it by hand when a version changes, then commit the result: versions and hashes, no addresses.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapt.fleet.bundle.lock import DEFAULT_LOCK, RUNTIMES
from adapt.fleet.bundle.sources import WHEEL_PLATFORMS, Apt

# For the device: Python, and what it and the wheels need. OpenSSL is not among them, since gRPC
# brings its own and Python has SHA-256 built in.
DEVICE = (
    "libc6", "libexpat1", "libffi8", "libgcc-s1", "libpython{python}-minimal",
    "libpython{python}-stdlib", "libstdc++6", "python{python}-minimal", "zlib1g",
)  # fmt: skip
# For the machine that builds: the same Python.
HOST = ("libc6", "libexpat1", "python{python}-minimal", "zlib1g")
# The host's lock has the same versions where it has these at all.
WHEELS = {
    "ai-edge-litert": ("ai-edge-litert==2.3.0", "numpy==2.4.6"),
    "tflite-runtime": ("tflite-runtime==2.14.0", "numpy==1.26.4"),
}
BOTH = ("grpcio==1.85.1", "protobuf==7.36.2", "typing-extensions==4.16.0")

HEAD = """\
# What the bundle for phones is made of; written by tools/lock_bundle.py. Versions and hashes, no
# addresses: parts come from the package sources of the machine that builds.
"""


def main() -> None:
    """Write the lock file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--python", default="3.11", help="the version that the suite has")
    parser.add_argument("--output", type=Path, default=DEFAULT_LOCK)
    options = parser.parse_args()
    lines = [HEAD, f'suite = "{options.suite}"', f'python = "{options.python}"']
    lines += _packages(options.suite, options.python)
    lines += _wheels(options.python)
    options.output.write_text("\n".join(lines) + "\n")


def _packages(suite: str, python: str) -> Iterator[str]:
    device = [f"{name.format(python=python)}:arm64" for name in DEVICE]
    host = [f"{name.format(python=python)}:amd64" for name in HOST]
    with Apt(suite, ("arm64", "amd64")) as apt:
        for kind, names in (("package", device), ("tool", host)):
            found = apt.candidates(names)
            for full in names:
                name, _, architecture = full.partition(":")
                version, digest = found[full]
                yield _table(
                    kind, name=name, version=version, architecture=architecture, sha256=digest
                )


def _wheels(python: str) -> Iterator[str]:
    for requirement in BOTH:
        yield _table("wheel", **_wheel(requirement, python))
    for runtime in RUNTIMES:
        for requirement in WHEELS[runtime]:
            yield _table("wheel", **_wheel(requirement, python), runtimes=[runtime])


def _wheel(requirement: str, python: str) -> dict[str, str]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    command += ["--python-version", python, "--implementation", "cp"]
    command += [f"--platform={name}" for name in WHEEL_PLATFORMS]
    abi = f"cp{python.replace('.', '')}"
    command += [f"--abi={name}" for name in (abi, "abi3", "none")]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "--dest", folder, requirement], check=True)
        (file,) = Path(folder).iterdir()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    name, _, version = requirement.partition("==")
    return {"name": name, "version": version, "sha256": digest}


def _table(kind: str, **values: str | Sequence[str]) -> str:
    lines = [f"\n[[{kind}]]"]
    for name, value in values.items():
        text = re.sub("'", '"', repr(value)) if isinstance(value, list) else f'"{value}"'
        lines.append(f"{name} = {text}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
