"""`adapt tables learn`, as a user types it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.refresh.typical import typical_kernels
from adapt.tflite.writer import write_kernel


def run(folder: Path, *arguments: str, code: int = 0) -> Result:
    runner = CliRunner(env={"ADAPT_HOME": str(folder)})
    result = runner.invoke(main, ["tables", "learn", *arguments], prog_name="adapt")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    ("arguments", "code", "mention"),
    [
        (["--model", "missing.tflite"], 5, "there is no file missing.tflite"),
        (["--core-mask", "some"], 2, "not a core mask"),
        (["--device", "pixel-6"], 2, "no device 'pixel-6'"),
        (["--backend", "gpu"], 2, "gpu"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], code: int, mention: str) -> None:
    assert mention in run(tmp_path, *arguments, code=code).output
    assert not (tmp_path / "tables.db").exists()


@pytest.mark.skipif(os.environ.get("ADAPT_LONG") != "1", reason="ADAPT_LONG=1 runs it")
def test_this_machine(tmp_path: Path) -> None:
    model = tmp_path / "convolution.tflite"
    model.write_bytes(write_kernel(typical_kernels("float32")[1]))
    result = run(tmp_path, "--model", str(model), "--json")
    shown = json.loads(result.stdout)
    assert {"null_us", "l2_bytes", "l3_bytes"} <= set(shown["facts"])
    assert {each["op"] for each in shown["operators"]} >= {"CONV_2D", "SOFTMAX"}
    assert "learning: caches" in result.stderr
