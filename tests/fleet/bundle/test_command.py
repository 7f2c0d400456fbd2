"""`adapt devices bundle`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.fleet.bundle import open_bundle
from tests.fleet.bundle.test_parts import MANIFEST, make_bundle


def run(home: Path, *arguments: str, **variables: str) -> Any:
    environment = {"ADAPT_HOME": str(home), **variables}
    return CliRunner().invoke(main, ["devices", "bundle", *arguments], env=environment)


def test_a_file_from_elsewhere_is_taken_and_told(tmp_path: Path) -> None:
    file, home = make_bundle(tmp_path), tmp_path / "home"
    copy = tmp_path / "copy.tar.gz"
    done = run(home, "--from", str(file), "--output", str(copy), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["sha256"] == open_bundle(file).sha256 == open_bundle(copy).sha256
    assert (told["runtime"], told["build"]) == (MANIFEST.runtime, MANIFEST.build)
    # Now it is there, and nothing has to be made.
    again = run(home)
    assert again.exit_code == 0, again.output
    assert told["path"] in again.stdout
    assert f"build {MANIFEST.build}" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "{file}", "--runtime", "tflite-runtime"], 2, "says nothing with --from"),
        (["--from", "{absent}"], 5, "none is no bundle: No such file or directory\n"),
        (["--from", "{text}"], 5, "is no bundle"),
        (["--lock", "{text}"], 5, "is no lock file"),
        (["--from", "{file}", "--output", "/dev/null/x"], 5, "/dev/null/x"),
        ([], 5, "--from FILE"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    places = {"file": make_bundle(tmp_path), "absent": tmp_path / "none", "text": text}
    filled = [argument.format(**places) for argument in arguments]
    done = run(tmp_path / "home", *filled, PATH=str(tmp_path))
    assert done.exit_code == code, done.output
    assert words in done.output
    assert "Traceback" not in done.output
