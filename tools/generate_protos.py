"""Generates device_agent/v1/*_pb2.py, *_pb2.pyi and *_pb2_grpc.py from protos/.

The generated code is committed. Run `python tools/generate_protos.py` after a change of a .proto,
with the generator of the version below and no other: later ones emit code that refuses the
protobuf release that TensorFlow allows.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from pathlib import Path

GENERATOR_VERSION = "1.74.0"
ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("device_agent/v1/agent.proto", "device_agent/v1/health.proto")
# Messages alone: its service is registered under the standard's name, by hand.
WITHOUT_SERVICE = ("device_agent/v1/health.proto",)


def generate(out: Path) -> list[Path]:
    """Write the generated files under `out` and return them; SystemExit where protoc fails."""
    for source in SOURCES:
        # In a process of its own: protoc's native library and TensorFlow's do not bear each other.
        arguments = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}"]
        arguments += [f"--python_out={out}", f"--pyi_out={out}"]
        if source not in WITHOUT_SERVICE:
            arguments.append(f"--grpc_python_out={out}")
        if subprocess.run([*arguments, str(ROOT / "protos" / source)], check=False).returncode != 0:
            raise SystemExit(f"protoc refused {source}")
    return sorted(path for path in out.glob("device_agent/v1/*_pb2*") if path.is_file())


def main() -> None:
    """Command line: `--out FOLDER`, by default the checkout."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT)
    arguments = parser.parse_args()
    version = importlib.metadata.version("grpcio-tools")
    if version != GENERATOR_VERSION:
        raise SystemExit(f"grpcio-tools {GENERATOR_VERSION} is needed, {version} is installed")
    for path in generate(arguments.out):
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
