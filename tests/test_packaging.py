"""What `pip install` gives: the agent without TensorFlow, and every file that the host needs."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from adapt.fleet.local import LocalDevice

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution's wheel, built from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in ("adapt", "device_agent", "lookup_tables"):
        for file in (ROOT / part).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                target = source / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    _pip(Path(sys.executable), "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source)
    (built,) = folder.glob("adaptd-*.whl")
    return built


def _pip(python: Path, *arguments: str | Path) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, timeout=300)


def test_the_wheel_holds_data_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"adapt/demo/digits.keras", "adapt/report/template.html"} <= names
    assert not [name for name in names if name.startswith(("tests", "tools"))]


def test_the_wheel_names_the_console_scripts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        text = archive.read(entry_points).decode()
    assert "adapt = adapt.cli:main" in text
    assert "device-agent = device_agent.__main__:main" in text


def test_an_agent_alone_has_no_tensorflow_and_serves(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "agent"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    try:
        _pip(python, "install", "--timeout", "10", "--retries", "1", f"{wheel}[agent]")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("the agent's dependencies cannot be installed: no package index in reach")
    installed = json.loads(
        subprocess.check_output([python, "-m", "pip", "list", "--format", "json"], text=True)
    )
    names = {package["name"].lower() for package in installed}
    assert "ai-edge-litert" in names
    assert not {name for name in names if "tensorflow" in name or name == "keras"}
    with LocalDevice(python) as device:
        assert device.describe().identity.runtime == "ai-edge-litert"


def test_the_agent_command_serves(tmp_path: Path) -> None:
    """The console script by itself, token in a file, as on a board without the host."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    script = Path(sys.executable).with_name("device-agent")
    if not script.exists():
        pytest.skip("the console scripts are not installed")
    with subprocess.Popen(
        [script, "--listen", "127.0.0.1:0", "--token-file", token],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as agent:
        assert agent.stdout is not None
        try:
            assert json.loads(agent.stdout.readline())["address"].startswith("127.0.0.1:")
        finally:
            agent.terminate()
        assert agent.wait(10) == 0
