"""What the command line says of itself."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from adapt import errors
from adapt.cli import main
from adapt.config import Config
from adapt.methods.base import Settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
# Each costs a tenth of a second to several seconds.
SLOW_TO_IMPORT = {
    "tensorflow",
    "keras",
    "numpy",
    "grpc",
    "pydantic",
    "ai_edge_litert",
    "matplotlib",
}
LISTING = """
import json, sys
from adapt.cli import main
try:
    main(sys.argv[1:], prog_name="adapt")
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["run", "--help"], 0),
        (["resume", "--help"], 0),
        (["run", "--colour"], 2),
        (["run", "--model=m", "--data=d", "--budget=latency=fast"], 2),
    ],
)
def test_quick_answers_import_nothing_slow(arguments: list[str], code: int) -> None:
    assert not SLOW_TO_IMPORT & imported(arguments, code)


def test_a_device_that_cannot_be_is_refused_before_tensorflow() -> None:
    arguments = ["run", "--model=m", "--data=d", "--budget=macs=50%", "--device=toaster"]
    assert not {"tensorflow", "keras"} & imported(arguments, 2)


def imported(arguments: list[str], code: int) -> set[str]:
    """What `adapt` imports for this, which ends with that exit code."""
    finished = subprocess.run(
        [sys.executable, "-c", LISTING, *arguments], capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == code
    modules = set(json.loads(finished.stderr.splitlines()[-1]))
    assert "adapt.cli" in modules
    return modules


def options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option)]


def test_every_command_and_option_has_help() -> None:
    for command in main.commands.values():
        assert command.help, command.name
        for option in options(command):
            assert option.help, f"{command.name} {option.opts}"
            assert option.help[0].isupper() or option.name in ("model", "budgets")


def test_the_page_is_what_the_program_says() -> None:
    spec = importlib.util.spec_from_file_location("document_cli", ROOT / "tools/document_cli.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert PAGE.read_text() == tool.page(), "run: python tools/document_cli.py"


def test_the_page_leaves_nothing_out() -> None:
    """Independent of the tool that writes it."""
    text = PAGE.read_text()
    for name, command in main.commands.items():
        assert f"## `adapt {name} " in text
        for option in options(command):
            assert f"`{option.opts[0]}" in text
    for kind in (getattr(errors, name) for name in errors.__all__):
        if kind is not errors.AdaptError:
            assert f"| `{kind.exit_code}` |" in text
    for setting in Config.model_fields:
        assert f"| `{setting}` | ADAPT_{setting.upper()} |" in text


def test_exit_codes_of_the_help_are_those_of_the_errors() -> None:
    codes = {str(getattr(errors, name).exit_code) for name in errors.__all__} - {"1"}
    assert codes <= set(re.findall(r"\d+", main.epilog or ""))


def test_defaults_in_help_are_those_of_the_settings() -> None:
    """The command line does not import them, since that takes seconds."""
    said = {option.name: option.help or "" for option in options(main.commands["run"])}
    own = {name for name, field in Settings.model_fields.items() if field.default is None}
    # Those that a method decides.
    assert own == {"first_step", "importance", "compensate", "proposals"}
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = default if isinstance(default, str) else f"{default or 0:g}"
        assert name in own or f"[default: {shown}]" in said[name], name
