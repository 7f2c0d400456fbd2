"""The bundle on an emulated aarch64 processor: it starts, says who it is, and times a kernel."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapt.fleet.bundle import RUNTIMES, Bundle
from adapt.fleet.bundle.elf import AARCH64, is_elf, read_elf
from adapt.fleet.client import AgentClient
from adapt.fleet.device import MeasureOptions, ModelFile, Status
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel
from tests.fleet.emulation import aarch64_bundle, emulator, unpacked

pytestmark = pytest.mark.skipif(
    "ADAPT_LONG" not in os.environ, reason="half a minute; ADAPT_LONG=1 runs it"
)
MAX_BYTES = 40_000_000
KERNEL = "RELU(float32[1,16,16,16]) -> float32[1,16,16,16]"


@pytest.fixture(scope="module", params=RUNTIMES)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return aarch64_bundle(request.param)


@contextmanager
def agent(folder: Path) -> Iterator[AgentClient]:
    """The agent of an unpacked bundle, started as a phone's shell starts it."""
    socket, token = folder / "socket", secrets.token_hex(32)
    process = subprocess.Popen(
        ["sh", folder / "agent", "--listen", f"unix:{socket}", "--token-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "DEVICE_AGENT_EMULATOR": str(emulator())},
    )
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{token}\n".encode())
        process.stdin.flush()
        assert str(socket).encode() in process.stdout.readline()
        client = AgentClient("emulated", f"unix:{socket}", token)
        yield client
        client.close()
        process.stdin.close()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def test_it_measures_on_aarch64(bundle: Bundle, tmp_path: Path) -> None:
    with agent(unpacked(bundle, tmp_path)) as device:
        identity = device.describe().identity
        model = ModelFile("kernel", write_kernel(Kernel.parse(KERNEL)))
        options = MeasureOptions(target_relative_error=0.5, time_limit_ms=60_000)
        outcome = device.measure([model], options).outcomes["kernel"]
    assert identity.architecture == "aarch64"
    assert (identity.runtime, identity.runtime_version, identity.runtime_build) == (
        bundle.manifest.runtime,
        bundle.manifest.runtime_version,
        bundle.manifest.build,
    )
    assert outcome.status in (Status.MEASURED, Status.NOT_CONVERGED), outcome.detail
    assert outcome.delegated == outcome.nodes == 1
    assert all(window.low_us > 0 for window in outcome.windows)


def test_it_is_small_and_runs_on_large_pages(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.size <= MAX_BYTES
    root = unpacked(bundle, tmp_path)
    programs = [p for p in root.rglob("*") if p.is_file() and is_elf(p.read_bytes()[:16])]
    names = {p.name for p in programs}
    assert len(programs) > 30
    for program in programs:
        facts = read_elf(program.read_bytes())
        assert facts.machine == AARCH64
        assert facts.alignment >= 1 << 14
        assert set(facts.needed) <= names, program
    assert not list(root.rglob("*.py"))


def test_the_same_parts_make_the_same_bundle(tmp_path: Path) -> None:
    from adapt.fleet.bundle import bundled
    from tests.fleet.emulation import cache

    first = aarch64_bundle(RUNTIMES[0])
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/parts").symlink_to(cache() / "bundles/parts")
    assert bundled(tmp_path).sha256 == first.sha256
