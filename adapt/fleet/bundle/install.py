"""A bundle on a device: pushed, unpacked, and there at once or not at all."""

from __future__ import annotations

from adapt.errors import DeviceError
from adapt.fleet.bundle.archive import Bundle
from adapt.fleet.link import Link, OnBytes, ShellResult

__all__ = ["ANDROID_FOLDER", "clean", "install"]

# The one folder of a phone in which the shell may write and start programs.
ANDROID_FOLDER = "/data/local/tmp"
# All that this product ever puts on a device is below it.
OWN_FOLDER = "adapt"
SHELL_SECONDS = 20.0
# Cheap phones unpack some megabytes a second.
UNPACK_SECONDS = 180.0
DIGITS = 16
MAX_WORDS = 300
# Beside the archive and its content, so that the phone itself goes on working.
SPARE_KIB = 100 << 10

_UNPACK = """\
set -e
rm -rf "$1.new"
mkdir "$1.new"
tar -xzf "$1.tar.gz" -C "$1.new"
rm "$1.tar.gz"
if [ -e "$1" ]; then rm -rf "$1.new"; else mv "$1.new" "$1"; fi
"""
_FREE = """df -k "$1" | tail -n 1"""


def install(
    link: Link, bundle: Bundle, parent: str = ANDROID_FOLDER, on_progress: OnBytes | None = None
) -> list[str]:
    """Have `bundle` on the device; the command that starts its agent, up to its options.

    Where it is there already, nothing is pushed. Raises DeviceError where the device has no space
    for it or cannot unpack it, and the errors of the link.
    """
    own = f"{parent}/{OWN_FOLDER}"
    folder = f"{own}/{bundle.sha256[:DIGITS]}"
    command = ["sh", f"{folder}/agent"]
    if link.shell(["test", "-e", f"{folder}/agent"], timeout_s=SHELL_SECONDS).exit_code == 0:
        return command
    _carried_out(
        link.shell(["mkdir", "-p", own], timeout_s=SHELL_SECONDS),
        f"{link.serial} lets nobody make the folder {own}",
    )
    _refuse_without_space(link, own, bundle)
    link.push(bundle.path, f"{folder}.tar.gz", on_progress=on_progress)
    _carried_out(
        link.shell(["sh", "-c", _UNPACK, "sh", folder], timeout_s=UNPACK_SECONDS),
        f"{link.serial} cannot unpack the bundle in {own}",
    )
    return command


def clean(link: Link, parent: str = ANDROID_FOLDER) -> None:
    """Remove all that this product has put on the device; DeviceError where something stays."""
    own = f"{parent}/{OWN_FOLDER}"
    _carried_out(
        link.shell(["rm", "-rf", own], timeout_s=UNPACK_SECONDS),
        f"{link.serial} does not let go of all in {own}",
    )


def _refuse_without_space(link: Link, folder: str, bundle: Bundle) -> None:
    done = link.shell(["sh", "-c", _FREE, "sh", folder], timeout_s=SHELL_SECONDS)
    fields = done.stdout.decode(errors="replace").split()
    # Filesystem, blocks, used, available, ...; what cannot be read is found out by unpacking.
    free_kib = int(fields[3]) if len(fields) > 3 and fields[3].isdecimal() else None
    wanted_kib = (bundle.size + bundle.content_bytes) // 1024 + SPARE_KIB
    if free_kib is not None and free_kib < wanted_kib:
        raise DeviceError(
            f"{link.serial} has {free_kib >> 10} MiB free at {folder},"
            f" the bundle needs {wanted_kib >> 10}",
            "free some space, or remove older bundles with `adapt devices clean`",
        )


def _carried_out(done: ShellResult, failure: str) -> None:
    if done.exit_code != 0:
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        raise DeviceError(
            f"{failure}: {said[:MAX_WORDS]}", "`adapt doctor --device ...` says what is the matter"
        )
