"""The key by which phones know this host: adapt's own, beside that of the user's adb."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from typing import Protocol

from adapt.errors import DeviceError

__all__ = ["Key", "own_key"]


class Key(Protocol):
    """Signs what a device asks this host to; the names are those of adb-shell's signers."""

    def Sign(self, data: bytes) -> bytes:  # noqa: N802
        """The signature of 20 bytes."""

    def GetPublicKey(self) -> bytes:  # noqa: N802
        """The public key in Android's format, with the name shown to the phone's user."""


def own_key(folder: Path) -> Key:
    """The key in `folder`, which is made on first use; DeviceError where it cannot be used."""
    from adb_shell.auth.sign_cryptography import CryptographySigner

    private = folder / "key"
    try:
        if not private.exists():
            _make(folder)
        if stat.S_IMODE(private.stat().st_mode) & 0o077:
            raise DeviceError(
                f"others can read the key {private}",
                f"run: chmod 600 {private}; phones that accepted it should forget it",
            )
        key: Key = CryptographySigner(str(private))
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"the key {private} cannot be used: {error}",
            f"remove {folder}, and accept the new key on the phone",
        ) from error
    return key


def _make(folder: Path) -> None:
    """Write a new pair; of two processes that do so at once, both use one."""
    from adb_shell.auth.keygen import keygen

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Of mode 0700, so that nobody reads the key before it has its mode: keygen knows of none.
    fresh = Path(tempfile.mkdtemp(prefix=".key-", dir=folder.parent))
    try:
        keygen(str(fresh / "key"))
        (fresh / "key").chmod(0o600)
        fresh.rename(folder)
    except OSError:
        if not (folder / "key").exists():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
