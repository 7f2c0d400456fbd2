"""Programs of this machine, which make a bundle or fetch what it is made of."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapt.errors import InputError

__all__ = ["FROM_ELSEWHERE", "run"]

FROM_ELSEWHERE = (
    "build the bundle on a Debian machine for x86-64 whose package sources work, and hand its file"
    " to `adapt devices bundle --from FILE` here; where the sources have only newer versions than"
    " the lock, write it anew with tools/lock_bundle.py"
)
RUN_SECONDS = 300.0
MAX_WORDS = 300


def run(
    command: Sequence[str], folder: Path = Path("/"), environment: Mapping[str, str] | None = None
) -> str:
    """What a program writes; InputError with its last words where it cannot be run, or fails."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=RUN_SECONDS,
            check=True,
        )
    except OSError as error:
        raise InputError(f"this machine cannot run {name}", FROM_ELSEWHERE) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"{name} did not finish in {RUN_SECONDS:g} s", "check the network, then try again"
        ) from error
    except subprocess.CalledProcessError as error:
        # Compilers complain on stdout.
        said = " ".join((error.stderr or error.stdout).decode(errors="replace").split())
        raise InputError(f"{name} failed: {said[-MAX_WORDS:]}", FROM_ELSEWHERE) from error
    return done.stdout.decode(errors="replace")
