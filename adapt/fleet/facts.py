"""What a device's own shell tells of it, asked by one script and kept as text.

The script needs nothing but a POSIX shell and what Android's toybox or a Linux has; what a device
does not have leaves its section empty. Recorded answers of phones stand in for them in tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from adapt.fleet.device import Core
from adapt.fleet.link import Link

__all__ = ["Facts", "gather"]

GATHER_SECONDS = 60.0
MAX_SECTION = 64 << 10
MAX_CORES = 1024
_MARK = "@@ "

# $1 is the folder that programs are started from. Each section begins with its mark.
SCRIPT = r"""
section() { echo "@@ $1"; }
cpus=/sys/devices/system/cpu
section id; id
section machine; uname -m
section kernel; uname -r
section page
getconf PAGE_SIZE || {
    kib=$(sed -n '/^KernelPageSize/{s/[^0-9]//g;p;q;}' /proc/self/smaps)
    [ -n "$kib" ] && echo $((kib * 1024))
}
section selinux; getenforce
section online; cat $cpus/online
section cores
for c in $cpus/cpu[0-9]*; do
    f=$c/cpufreq
    echo "cpu=${c##*/cpu} max=$(cat $f/cpuinfo_max_freq) min=$(cat $f/cpuinfo_min_freq)" \
        "now=$(cat $f/scaling_cur_freq) governor=$(cat $f/scaling_governor)"
done
section allowed; grep Cpus_allowed: /proc/self/status
section affinity
last=$(sed 's/.*[-,]//' $cpus/online)
[ -n "$last" ] && taskset "$(printf %x $((1 << last)))" echo "core $last"
section thermal
for z in /sys/class/thermal/thermal_zone*; do echo "$(cat $z/temp) $(cat $z/type)"; done
section throttling; dumpsys thermalservice | grep -m 1 'Thermal Status'
section battery; dumpsys battery
section gauge
for s in /sys/class/power_supply/*; do
    echo "${s##*/} $(cat $s/type) $(cat $s/current_now) $(cat $s/voltage_now)"
done
section rails
for d in /sys/bus/iio/devices/iio:device*; do
    [ -e $d/energy_value ] && echo "$(cat $d/name) $(cat $d/energy_value | wc -l)"
done
section rapl; for d in /sys/class/powercap/intel-rapl:*; do cat $d/energy_uj; done
section space; df -k "$1" | tail -n 1
section execute
# A busybox that is its own programs tells no path.
sh=$(command -v sh); [ -x "$sh" ] || sh=/bin/sh
mkdir -p "$1/adapt" && echo "#!$sh
echo executed" > "$1/adapt/execute" && chmod 700 "$1/adapt/execute" && "$1/adapt/execute"
rm -f "$1/adapt/execute"; rmdir "$1/adapt"
section boot; cat /proc/sys/kernel/random/boot_id
section load; cat /proc/loadavg
section end
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a device answered: sections of text by name, and its Android properties."""

    sections: Mapping[str, str]
    properties: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, properties: Mapping[str, str]) -> Facts:
        """The facts in what the script wrote."""
        sections = {}
        for part in re.split(f"^{_MARK}", text, flags=re.MULTILINE)[1:]:
            name, _, body = part.partition("\n")
            sections[name.strip()] = body[:MAX_SECTION].strip()
        return cls(sections, properties)

    def __getitem__(self, section: str) -> str:
        """The text of a section; empty where the device said nothing."""
        return self.sections.get(section, "")

    @property
    def android(self) -> bool:
        """Whether the device runs Android."""
        return "ro.build.version.release" in self.properties

    @property
    def cores(self) -> list[Core]:
        """The cores, with clocks of 0 where the device hides them."""
        return [core for core, _ in self._cores()]

    @property
    def current_khz(self) -> list[int]:
        """The clock of each core just now, kHz, 0 where the device hides it."""
        return [now for _, now in self._cores()]

    @property
    def temperatures(self) -> list[tuple[str, float]]:
        """(zone, degrees Celsius) of every sensor that can be read and says what can be meant."""
        found = []
        for line in self["thermal"].splitlines():
            match = re.fullmatch(r"(-?\d{1,7}) (\S.{0,99})", line.strip())
            if match and -100 <= int(match[1]) / 1000 <= 300:
                found.append((match[2], int(match[1]) / 1000))
        return found

    def _cores(self) -> list[tuple[Core, int]]:
        found = []
        for line in self["cores"].splitlines()[:MAX_CORES]:
            # Each field is marked, since a device may hide any of them.
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            if not re.fullmatch(r"\d{1,4}", fields.get("cpu", "")):
                continue
            high, low, now = (_khz(fields.get(name, "")) for name in ("max", "min", "now"))
            core = Core(int(fields["cpu"]), high, low, fields.get("governor", ""))
            found.append((core, now))
        return sorted(found, key=lambda entry: entry[0].index)

    def battery(self, name: str) -> str:
        """One line of the battery service, such as "level"; empty where it is not there."""
        match = re.search(rf"^\s*{re.escape(name)}: (.{{1,100}})$", self["battery"], re.MULTILINE)
        return match[1].strip() if match else ""


def gather(link: Link, folder: str) -> Facts:
    """Ask the device behind `link`; `folder` is where programs are started from.

    Raises the errors of the link.
    """
    done = link.shell(["sh", "-c", SCRIPT, "sh", folder], timeout_s=GATHER_SECONDS)
    return Facts.parse(done.stdout.decode(errors="replace"), link.properties())


def _khz(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,10}", text) else 0
