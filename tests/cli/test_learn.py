"""`adapt tables learn`, as a user types it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.commands.learn import facts_text
from adapt.refresh.typical import typical_kernels
from adapt.tflite.writer import write_kernel
from lookup_tables import Fact
from lookup_tables.families import Axis
from lookup_tables.staircase import SWEEP
from lookup_tables.tiles import sweep_evidence, tile_fact


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


def test_steps_are_shown_with_what_is_off_the_tile() -> None:
    axis = Axis("DEPTHWISE_CONV_2D", "float32", "3x3", "channels")
    rising = {count: float(count) for count in SWEEP}
    stepping = {n: (1 + -(-n // 16)) * (1.0 if n % 16 == 0 else 1.5) for n in SWEEP}
    facts = {
        tile_fact(axis): Fact(16.0, 0.0, sweep_evidence(stepping)),
        tile_fact(replace(axis, dtype="int8")): Fact(1.0, 0.0, sweep_evidence(rising)),
        "null_us": Fact(0.25, 0.0, {}),
    }
    tile, plain, call, _ = facts_text(facts).splitlines()
    assert re.search(r"float32.3x3.channels.tile_channels +16, off it up to x1\.[4-6]", tile)
    assert re.search(r"int8.3x3.channels.tile_channels +1$", plain)
    assert re.search(r"null_us +0\.250$", call)


@pytest.mark.skipif(os.environ.get("ADAPT_LONG") != "1", reason="ADAPT_LONG=1 runs it")
def test_this_machine(tmp_path: Path) -> None:
    model = tmp_path / "convolution.tflite"
    model.write_bytes(write_kernel(typical_kernels("float32")[1]))
    result = run(tmp_path, "--model", str(model), "--json")
    shown = json.loads(result.stdout)
    assert {"null_us", "l2_bytes", "l3_bytes"} <= set(shown["facts"])
    assert shown["facts"]["CONV_2D.float32.1x1.out.tile_channels"]["value"] > 1
    assert {each["op"] for each in shown["operators"]} >= {"CONV_2D", "SOFTMAX"}
    assert "learning: caches" in result.stderr
