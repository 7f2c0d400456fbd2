"""How to start another Python of the same kind as this one.

On a phone the agent runs from a bundle, through the bundle's own dynamic loader: there
`sys.executable` is not a Python. The bundle says what to start in DEVICE_AGENT_PYTHON.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# The command line up to the interpreter's own arguments, quoted as for a shell.
PYTHON_VARIABLE = "DEVICE_AGENT_PYTHON"
PACKAGE_ROOT = Path(__file__).resolve().parents[1]
# numpy's linear algebra is never used, and its pool of threads would cost address space.
QUIET_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def command(module: str, *arguments: str, python: Sequence[str] | None = None) -> list[str]:
    """The command that runs a module of this package, by `python` or the configured one."""
    if python is None:
        configured = shlex.split(os.environ.get(PYTHON_VARIABLE, ""))
        python = configured or [sys.executable]
    return [*python, "-s", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """The environment in which a started Python finds this package, installed or in a checkout."""
    variables = {**os.environ, **QUIET_THREADS}
    if PACKAGE_ROOT.name not in ("site-packages", "dist-packages"):
        known = variables.get("PYTHONPATH")
        variables["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *([known] if known else [])])
    return variables
