"""The package by itself: as a library in a notebook, with sqlite-utils and numpy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lookup_tables import Store

ROOT = Path(__file__).parents[2]

# Imports what sqlite-utils needs, and then nothing that is not of Python or of the package.
_GUARD = """
import importlib.abc, sys
import sqlite_utils

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = {"lookup_tables", "numpy", *sys.stdlib_module_names}
        if top not in known and "." not in name:
            raise AssertionError(f"lookup_tables imports {name}")

sys.meta_path.insert(0, Guard())
sys.path.insert(0, ".")
"""


def run_alone(folder: Path, code: str) -> str:
    """What `code` prints in `folder`, where the package is and nothing else of the project."""
    shutil.copytree(ROOT / "lookup_tables", folder / "lookup_tables")
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", _GUARD + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_alone(tmp_path: Path) -> None:
    modules = [path.stem for path in (ROOT / "lookup_tables").glob("*.py")]
    assert "exchange" in modules
    code = "\n".join(f"import lookup_tables.{name}" for name in modules if name != "__init__")
    assert run_alone(tmp_path, f"{code}\nprint(lookup_tables.__file__)").startswith(str(tmp_path))


def test_the_three_lines_of_the_manual(tmp_path: Path, values: Any) -> None:
    with Store(tmp_path / "tables.db") as store:
        store.record_batch(values.platform, values.batch(values.accepted(16, 10.5)))
    page = (ROOT / "docs" / "tables.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len([line for line in example.splitlines() if line]) == 3
    said = run_alone(tmp_path, example + "\nprint(entries)")
    assert f"{values.kernel(16)!r}: Entry(latency_us=10.0, " in said
