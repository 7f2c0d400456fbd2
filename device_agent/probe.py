"""Who this device is, and what state it is in.

Everything is read below a root folder, so that recorded trees of other devices can stand in for
this one. Systems hide files for many reasons: what cannot be read is unknown, never an error.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from device_agent import __version__
from device_agent.files import MAX_READ_BYTES, MAX_TEXT, clean, folders, read_line, read_text
from device_agent.power import Meter
from device_agent.v1 import agent_pb2

MAX_ZONE = 100
MAX_CORES = 1024
CELSIUS_RANGE = (-100.0, 300.0)
UINT32_MAX = 2**32 - 1
GETPROP_SECONDS = 1.0
CPU_FOLDER = "sys/devices/system/cpu"


def identity(
    root: Path, runtime: Mapping[str, Any], meters: Sequence[Meter] = ()
) -> agent_pb2.Identity:
    """What does not change until the device is updated.

    `runtime` is what process.identify_runtime() found, `meters` what power.find_meters() did.
    """
    return agent_pb2.Identity(
        device_model=device_model(root),
        soc=soc(root),
        os_build=os_build(root),
        architecture=clean(os.uname().machine),
        runtime=clean(runtime["runtime"]),
        runtime_version=clean(runtime["runtime_version"]),
        runtime_build=clean(runtime["runtime_build"]),
        cores=[_core(root, index) for index in online(root)],
        page_size=os.sysconf("SC_PAGE_SIZE"),
        memory_total=_memory(root, "MemTotal"),
        agent_version=__version__,
        backends=[f"BACKEND_{name.upper()}" for name in runtime["backends"]],
        boot_id=read(root, "proc/sys/kernel/random/boot_id"),
        meters=[agent_pb2.Meter(name=meter.name, covers=meter.covers) for meter in meters],
    )


def state(root: Path) -> agent_pb2.State:
    """What changes from moment to moment."""
    return agent_pb2.State(
        core_khz=[
            _khz(root, f"{CPU_FOLDER}/cpu{i}/cpufreq/scaling_cur_freq") for i in online(root)
        ],
        temperatures=list(_temperatures(root)),
        load_average=_load(root),
        memory_available=_memory(root, "MemAvailable"),
        monotonic_ns=time.monotonic_ns(),
    )


def read(root: Path, path: str, limit: int = MAX_TEXT) -> str:
    """A file's text, cleaned; empty where it cannot be read."""
    return read_line(root / path, limit)


def _getprop(root: Path, name: str) -> str:
    """One property of Android; empty elsewhere."""
    tool = root / "system/bin/getprop"
    if not tool.exists():
        return ""
    try:
        done = subprocess.run(
            [str(tool), name], capture_output=True, timeout=GETPROP_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return clean(done.stdout[:MAX_READ_BYTES].decode(errors="replace"))


def device_model(root: Path) -> str:
    """As the maker names it: Android's property, the device tree, or the machine's firmware."""
    phone = _getprop(root, "ro.product.model")
    if phone:
        maker = _getprop(root, "ro.product.manufacturer")
        return joined(maker, phone)
    board = read(root, "proc/device-tree/model")
    if board:
        return board
    folder = "sys/class/dmi/id"
    product = read(root, f"{folder}/product_name")
    if product:
        return joined(read(root, f"{folder}/sys_vendor"), product)
    return f"unnamed {clean(os.uname().machine)}"


def soc(root: Path) -> str:
    """System on chip where there is one, else the CPU model with its generation."""
    phone = _getprop(root, "ro.soc.model")
    if phone:
        return joined(_getprop(root, "ro.soc.manufacturer"), phone)
    machine = read(root, "sys/devices/soc0/machine")
    if machine:
        return joined(read(root, "sys/devices/soc0/family"), machine)
    tree = [clean(part) for part in read_text(root / "proc/device-tree/compatible").split("\0")]
    if any(tree):
        # From the board to the chip; the last is the most general.
        return next(part for part in reversed(tree) if part)
    return _cpu(root) or f"unnamed {clean(os.uname().machine)}"


def _cpu(root: Path) -> str:
    """CPU model of /proc/cpuinfo."""
    facts: dict[str, list[str]] = {}
    for line in read_text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), []).append(value.strip())
    first = {name: values[0] for name, values in facts.items()}
    if "Hardware" in first:
        return clean(first["Hardware"])
    if "model name" in first and "cpu family" in first:
        # Makers sell several generations of server CPUs under one name.
        generation = f"family {first['cpu family']}, model {first.get('model', '?')}"
        return clean(f"{first['model name']} ({generation})")
    if "CPU part" in first:
        parts = zip(facts.get("CPU implementer", []), facts["CPU part"], strict=False)
        return clean("CPU " + " + ".join(sorted({f"{maker}:{part}" for maker, part in parts})))
    return clean(first.get("model name", ""))


def os_build(root: Path) -> str:
    """Android's build fingerprint, or the distribution and its kernel."""
    fingerprint = _getprop(root, "ro.build.fingerprint")
    if fingerprint:
        return fingerprint
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(root / "etc/os-release"), re.MULTILINE)
    kernel = read(root, "proc/sys/kernel/osrelease") or os.uname().release
    return joined(match[1] if match else "", f"Linux {kernel}")


def online(root: Path) -> list[int]:
    """Indices of the logical CPUs that are online, ascending."""
    cores: set[int] = set()
    for part in read(root, f"{CPU_FOLDER}/online", MAX_READ_BYTES).split(","):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", part)
        if match:
            cores.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(c for c in cores if c < MAX_CORES) or list(range(os.cpu_count() or 1))


def _core(root: Path, index: int) -> agent_pb2.Core:
    folder = f"{CPU_FOLDER}/cpu{index}/cpufreq"
    return agent_pb2.Core(
        index=index,
        max_khz=_khz(root, f"{folder}/cpuinfo_max_freq"),
        min_khz=_khz(root, f"{folder}/cpuinfo_min_freq"),
        governor=read(root, f"{folder}/scaling_governor", MAX_ZONE),
    )


def _khz(root: Path, path: str) -> int:
    text = read(root, path)
    return int(text) if re.fullmatch(r"\d{1,10}", text) and int(text) <= UINT32_MAX else 0


def _memory(root: Path, name: str) -> int:
    """Bytes of one line of /proc/meminfo; 0 where it is not there."""
    pattern = rf"^{name}:\s+(\d{{1,12}}) kB$"
    match = re.search(pattern, read_text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _load(root: Path) -> float:
    match = re.match(r"(\d{1,6}\.\d+) ", read_text(root / "proc/loadavg"))
    return float(match[1]) if match else -1.0


def _temperatures(root: Path) -> Iterator[agent_pb2.Temperature]:
    for zone in folders(root / "sys/class/thermal", r"thermal_zone\d+"):
        text = read_line(zone / "temp")
        if not re.fullmatch(r"-?\d{1,7}", text):
            continue
        celsius = int(text) / 1000
        # Sensors that are switched off answer with their smallest or largest number.
        if CELSIUS_RANGE[0] <= celsius <= CELSIUS_RANGE[1]:
            name = read_line(zone / "type", MAX_ZONE) or zone.name
            yield agent_pb2.Temperature(zone=name, celsius=celsius)


def joined(maker: str, name: str) -> str:
    """Maker and name, the maker once."""
    return clean(name if name.lower().startswith(maker.lower()) else f"{maker} {name}")
