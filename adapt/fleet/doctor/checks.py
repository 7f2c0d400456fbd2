"""From what a device says of itself to findings: pure, one function for each line of the list."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from adapt.fleet.cores import clock_groups
from adapt.fleet.facts import Facts

__all__ = ["Finding", "Verdict", "findings"]

# Android 7 brought shell,v2, which tells how a program ended.
LEAST_ANDROID = 7
# A bundle packed and unpacked, and as much again for the phone itself.
LEAST_FREE_KIB = 300 << 10
# What phones throttle at differs; few run at full clocks above this.
WARM_CELSIUS = 45.0
LOW_BATTERY = 30
HIGH_LOAD_SHARE = 0.5
BUNDLE_MACHINES = ("aarch64", "arm64")
PAGES = (4096, 16384, 65536)
# Sensors of the processor, by the names that makers give them.
_CPU_ZONE = re.compile(r"cpu|soc|big|little|mid|tsens|x86_pkg|k10temp|cluster|apc", re.IGNORECASE)


class Verdict(StrEnum):
    """What a check found: `warn` costs precision, `fail` prevents measuring."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do where it is not as it should."""

    check: str
    verdict: Verdict
    seen: str
    todo: str = ""


def findings(facts: Facts) -> list[Finding]:
    """All findings about a device, in the order in which they matter."""
    return [check(facts) for check in CHECKS] + list(_meters(facts))


def _system(facts: Facts) -> Finding:
    if not facts.android:
        return Finding("system", Verdict.PASS, f"Linux {facts['kernel']}")
    release = facts.properties["ro.build.version.release"]
    name = facts.properties.get("ro.product.model", "a phone")
    seen = f"{name}, Android {release}"
    match = re.match(r"\d+", release)
    if match and int(match[0]) < LEAST_ANDROID:
        return Finding("system", Verdict.FAIL, seen, f"Android {LEAST_ANDROID} or newer is needed")
    return Finding("system", Verdict.PASS, seen)


def _architecture(facts: Facts) -> Finding:
    machine = facts["machine"] or "unknown"
    abi = facts.properties.get("ro.product.cpu.abi", "")
    seen = f"{machine}, ABI {abi}" if abi else machine
    if facts.android and (machine not in BUNDLE_MACHINES or abi not in ("", "arm64-v8a")):
        return Finding(
            "architecture", Verdict.FAIL, seen, "the bundle is for 64-bit ARM; use another device"
        )
    return Finding("architecture", Verdict.PASS, seen)


def _page_size(facts: Facts) -> Finding:
    text = facts["page"]
    if not text.isdecimal():
        return Finding("page size", Verdict.WARN, "the device does not tell", "nothing to do")
    if int(text) not in PAGES:
        return Finding("page size", Verdict.FAIL, f"{text} bytes", "the bundle takes up to 65536")
    return Finding("page size", Verdict.PASS, f"{text} bytes")


def _execution(facts: Facts) -> Finding:
    selinux = facts["selinux"].lower()
    policy = f"SELinux {selinux}" if selinux in ("enforcing", "permissive") else "no SELinux"
    if facts["execute"].endswith("executed"):
        return Finding("execution", Verdict.PASS, f"programs start, {policy}")
    return Finding(
        "execution",
        Verdict.FAIL,
        f"a program in the agent's folder does not start, {policy}",
        "the maker forbids what the agent needs, or the folder is mounted noexec: use another"
        " device",
    )


def _affinity(facts: Facts) -> Finding:
    if facts["affinity"].startswith("core "):
        return Finding("affinity", Verdict.PASS, "programs can be kept on chosen cores")
    return Finding(
        "affinity",
        Verdict.WARN,
        "taskset is not there or does not work",
        "measure with --cores all; times will scatter over kinds of cores",
    )


def _cores(facts: Facts) -> Finding:
    cores = facts.cores
    groups = clock_groups(cores)
    if not cores:
        return Finding("cores", Verdict.WARN, "the device does not list its cores", "")
    if any(core.max_khz == 0 for core in cores):
        return Finding(
            "cores",
            Verdict.WARN,
            f"{len(cores)}, clocks hidden",
            "choose cores of one kind yourself: --core-mask 0xf0, for example",
        )
    kinds = " + ".join(f"{len(group)} of {group[0].max_khz / 1e6:.2f} GHz" for group in groups)
    return Finding("cores", Verdict.PASS, kinds)


def _clocks(facts: Facts) -> Finding:
    governors = sorted({core.governor for core in facts.cores} - {""})
    if not governors:
        return Finding(
            "clocks",
            Verdict.WARN,
            "the governor is hidden",
            "repeat a measurement now and then",
        )
    seen = f"governor {', '.join(governors)}"
    if governors == ["performance"] or _fixed_performance(facts):
        mode = ", fixed-performance mode can be asked for" if facts.android else ""
        return Finding("clocks", Verdict.PASS, seen + mode)
    return Finding(
        "clocks", Verdict.WARN, seen, "clocks follow the load; the canary rejects what drifts"
    )


def _fixed_performance(facts: Facts) -> bool:
    """Whether Android has the mode: since version 11."""
    match = re.match(r"\d+", facts.properties.get("ro.build.version.release", ""))
    return match is not None and int(match[0]) >= 11


def _temperature(facts: Facts) -> Finding:
    zones = [t for t in facts.temperatures if _CPU_ZONE.search(t[0])] or facts.temperatures
    status = re.search(r"Thermal Status: (\d)", facts["throttling"])
    if status and status[1] != "0":
        return Finding(
            "temperature",
            Verdict.WARN,
            f"the phone throttles (status {status[1]} of 6)",
            "let it cool: out of its case, off the charger",
        )
    if not zones:
        told = "only the throttling status" if status else "nothing"
        return Finding(
            "temperature",
            Verdict.PASS if status else Verdict.WARN,
            f"{told} can be read",
            "" if status else "rest between runs; heat cannot be seen on this device",
        )
    zone, hottest = max(zones, key=lambda entry: entry[1])
    seen = f"{hottest:.0f} C ({zone}), {len(facts.temperatures)} sensors"
    if hottest > WARM_CELSIUS and facts.android:
        return Finding("temperature", Verdict.WARN, seen, "let it cool before measuring")
    return Finding("temperature", Verdict.PASS, seen)


def _battery(facts: Facts) -> Finding:
    level = facts.battery("level")
    if not level.isdecimal():
        if not facts.android:
            return Finding("battery", Verdict.PASS, "none")
        return Finding("battery", Verdict.WARN, "cannot be read", "keep the phone charged")
    powered = any(
        facts.battery(f"{kind} powered") == "true" for kind in ("USB", "AC", "Wireless", "Dock")
    )
    seen = f"{level} %, {'on external power' if powered else 'unplugged'}"
    if int(level) < LOW_BATTERY:
        return Finding(
            "battery",
            Verdict.WARN,
            seen,
            f"charge it to {LOW_BATTERY} %: phones slow down below",
        )
    return Finding("battery", Verdict.PASS, seen)


def _space(facts: Facts) -> Finding:
    fields = facts["space"].split()
    if len(fields) < 4 or not fields[3].isdecimal():
        return Finding("free space", Verdict.WARN, "cannot be read", "")
    free = int(fields[3])
    seen = f"{free >> 10} MiB"
    if free < LEAST_FREE_KIB:
        todo = f"free {LEAST_FREE_KIB >> 10} MiB, or try `adapt devices clean`"
        return Finding("free space", Verdict.FAIL, seen, todo)
    return Finding("free space", Verdict.PASS, seen)


def _load(facts: Facts) -> Finding:
    match = re.match(r"(\d{1,6}\.\d+)", facts["load"])
    if match is None:
        return Finding("load", Verdict.WARN, "cannot be read", "")
    count = max(len(facts.cores), 1)
    seen = f"{match[1]} runnable on {count} cores"
    if float(match[1]) > HIGH_LOAD_SHARE * count:
        return Finding("load", Verdict.WARN, seen, "close other programs, or wait for updates")
    return Finding("load", Verdict.PASS, seen)


def _boot(facts: Facts) -> Finding:
    if re.fullmatch(r"[0-9a-f-]{36}", facts["boot"]):
        return Finding("restarts", Verdict.PASS, "can be told")
    return Finding("restarts", Verdict.WARN, "cannot be told: the boot id is hidden", "")


def _meters(facts: Facts) -> Iterator[Finding]:
    """What the agent could tell energy by; none is no fault."""
    rails = [line for line in facts["rails"].splitlines() if not line.endswith(" 0")]
    gauges = [
        line.split()[0]
        for line in facts["gauge"].splitlines()
        if re.search(r"Battery -?\d+ \d+$", line)
    ]
    if rails:
        yield Finding("energy", Verdict.PASS, f"{len(rails)} device(s) of power rails")
    elif facts["rapl"]:
        yield Finding("energy", Verdict.PASS, "RAPL")
    elif gauges:
        yield Finding(
            "energy", Verdict.PASS, f"battery gauge {gauges[0]}; only unplugged, over Wi-Fi"
        )
    else:
        yield Finding(
            "energy",
            Verdict.WARN,
            "no meter can be read",
            "energy budgets need --energy eyeriss here; all others work",
        )


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    _system, _architecture, _page_size, _execution, _space, _cores, _affinity, _clocks,
    _temperature, _battery, _load, _boot,
)  # fmt: skip
