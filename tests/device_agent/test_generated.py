"""The committed generated code is what the generator makes of protos/."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_generated_code_is_current(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "generate_protos", ROOT / "tools" / "generate_protos.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    try:
        version = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if version != tool.GENERATOR_VERSION:
        pytest.skip(f"grpcio-tools {tool.GENERATOR_VERSION} is needed, found {version}")
    fresh = {p.name: p.read_bytes() for p in tool.generate(tmp_path)}
    committed = {p.name: p.read_bytes() for p in (ROOT / "device_agent/v1").glob("*_pb2*")}
    assert fresh == {n: c for n, c in committed.items() if not n.endswith(".pyc")}
    assert "agent_pb2_grpc.py" in fresh
