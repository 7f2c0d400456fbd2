"""The probe on recorded file trees of other devices, and on this one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from device_agent import probe

RUNTIME = {
    "runtime": "ai-edge-litert",
    "runtime_version": "2.3.0",
    "runtime_build": "0123456789abcdef",
    "backends": ["xnnpack", "builtin"],
}

RASPBERRY_PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
    "proc/sys/kernel/osrelease": "6.1.21-v8+\n",
    "proc/sys/kernel/random/boot_id": "8eea1346-dda9-4a6c-b7cd-12d475d8184d\n",
    "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "proc/meminfo": "MemTotal:        3884392 kB\nMemFree: 1 kB\nMemAvailable:    3204120 kB\n",
    "proc/loadavg": "0.52 0.58 0.59 1/597 12345\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq": "600000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "700000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48199\n",
    "sys/class/thermal/thermal_zone1/temp": "-274000\n",
    "sys/class/thermal/thermal_zone2/temp": "-4500\n",
    "sys/class/thermal/cooling_device0/type": "fan\n",
}

LAPTOP = {
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "Lenovo ThinkPad X1\n",
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"
    "model name\t: AMD EPYC\n\nprocessor\t: 1\nmodel name\t: other\n",
    "sys/devices/system/cpu/online": "0,2-3\n",
}

OLD_PHONE = {
    "proc/cpuinfo": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\n\n"
    "processor\t: 4\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_board_with_a_device_tree(tmp_path: Path) -> None:
    found = probe.identity(plant(tmp_path, RASPBERRY_PI), RUNTIME)
    assert found.device_model == "Raspberry Pi 4 Model B Rev 1.4"
    assert found.soc == "brcm,bcm2711"
    assert found.os_build == "Debian GNU/Linux 12 (bookworm) Linux 6.1.21-v8+"
    assert found.boot_id == "8eea1346-dda9-4a6c-b7cd-12d475d8184d"
    assert [c.index for c in found.cores] == [0, 1, 2, 3]
    first = found.cores[0]
    assert (first.max_khz, first.min_khz, first.governor) == (1_800_000, 600_000, "ondemand")
    assert (found.cores[1].max_khz, found.cores[1].governor) == (0, "")
    assert found.memory_total == 3_884_392 * 1024


def test_state_keeps_what_can_be_meant(tmp_path: Path) -> None:
    state = probe.state(plant(tmp_path, RASPBERRY_PI))
    assert list(state.core_khz) == [700_000, 0, 0, 0]
    zones = [(t.zone, t.celsius) for t in state.temperatures]
    assert zones == [("cpu-thermal", 48.199), ("thermal_zone2", -4.5)]
    assert state.load_average == 0.52
    assert state.memory_available == 3_204_120 * 1024


def test_a_machine_with_firmware_names_its_maker_once(tmp_path: Path) -> None:
    root = plant(tmp_path, LAPTOP)
    assert probe.device_model(root) == "Lenovo ThinkPad X1"
    assert probe.soc(root) == "AMD EPYC (family 26, model 2)"
    assert probe.online(root) == [0, 2, 3]


def test_cores_of_two_kinds_are_both_named(tmp_path: Path) -> None:
    assert probe.soc(plant(tmp_path, OLD_PHONE)) == "CPU 0x41:0xd05 + 0x41:0xd0b"


def test_android_properties_come_first(tmp_path: Path) -> None:
    tool = plant(tmp_path, RASPBERRY_PI) / "system/bin/getprop"
    tool.parent.mkdir(parents=True)
    tool.write_text(
        "#!/bin/sh\ncase $1 in\nro.product.manufacturer) echo Google;;\n"
        "ro.product.model) echo Pixel 6;;\nro.soc.manufacturer) echo Google;;\n"
        "ro.soc.model) echo Tensor;;\nro.build.fingerprint) echo google/oriole:14/AP1A;;\nesac\n"
    )
    tool.chmod(0o755)
    assert probe.device_model(tmp_path) == "Google Pixel 6"
    assert probe.soc(tmp_path) == "Google Tensor"
    assert probe.os_build(tmp_path) == "google/oriole:14/AP1A"


def test_a_property_tool_that_hangs_is_given_up(tmp_path: Path) -> None:
    tool = tmp_path / "system/bin/getprop"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\nexec sleep 30\n")
    tool.chmod(0o755)
    begin = time.monotonic()
    assert probe.device_model(plant(tmp_path, LAPTOP)) == "Lenovo ThinkPad X1"
    assert time.monotonic() - begin < 15


def test_an_empty_tree_has_an_identity_all_the_same(tmp_path: Path) -> None:
    found, state = probe.identity(tmp_path, RUNTIME), probe.state(tmp_path)
    assert found.device_model == f"unnamed {os.uname().machine}"
    assert found.soc == f"unnamed {os.uname().machine}"
    assert found.os_build.startswith("Linux ")
    assert (found.memory_total, found.boot_id) == (0, "")
    assert len(found.cores) == os.cpu_count()
    assert (state.load_average, state.memory_available, len(state.temperatures)) == (-1, 0, 0)


@pytest.mark.parametrize(
    "text", ["", "x" * 70_000, "1-\n", "9-0", "\x00\xff\x1b[31m", "-1", "99999999999", "1e400"]
)
def test_whatever_stands_in_the_files_nothing_breaks(tmp_path: Path, text: str) -> None:
    root = plant(tmp_path, dict.fromkeys(RASPBERRY_PI | LAPTOP, text))
    found, state = probe.identity(root, RUNTIME), probe.state(root)
    assert all(len(t) <= probe.MAX_TEXT for t in (found.device_model, found.soc, found.os_build))
    assert found.device_model.isprintable()
    assert all(-100 <= t.celsius <= 300 for t in state.temperatures)
    assert len(found.cores) >= 1


def test_folders_in_place_of_files_are_unknown(tmp_path: Path) -> None:
    for name in RASPBERRY_PI:
        (tmp_path / name).mkdir(parents=True)
    assert probe.state(tmp_path).load_average == -1


def test_this_machine() -> None:
    found, state = probe.identity(Path("/"), RUNTIME), probe.state(Path("/"))
    assert found.memory_total > state.memory_available > 0
    assert len(found.cores) == len(state.core_khz) >= 1
    assert found.page_size >= 4096
    assert state.monotonic_ns > 0
