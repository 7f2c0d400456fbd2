"""What a phone's shell answers the doctor, put together from public documentation of a Pixel 6.

No phone was at hand: formats and values are those that Android's sources and makers' pages show.
"""

from __future__ import annotations

from adapt.fleet.doctor import Facts

PROPERTIES = {
    "ro.build.version.release": "14",
    "ro.product.model": "Pixel 6",
    "ro.product.cpu.abi": "arm64-v8a",
}
SECTIONS = {
    "id": "uid=2000(shell) gid=2000(shell) groups=2000(shell),1004(input),1007(log)",
    "machine": "aarch64",
    "kernel": "5.10.177-android13-4-00003-ge0bd3b8a4d4e",
    "page": "4096",
    "selinux": "Enforcing",
    "online": "0-7",
    "cores": "\n".join(
        [f"cpu={i} max=1803000 min=300000 now=1803000 governor=sched_pixel" for i in range(4)]
        + [f"cpu={i} max=2253000 min=400000 now=400000 governor=sched_pixel" for i in (4, 5)]
        + [f"cpu={i} max=2802000 min=500000 now=500000 governor=sched_pixel" for i in (6, 7)]
    ),
    "allowed": "Cpus_allowed:\tff",
    "affinity": "core 7",
    "thermal": "38000 BIG\n37000 MID\n36000 LITTLE\n29800 battery\n-274000 unused",
    "throttling": "Thermal Status: 0",
    "battery": """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  level: 85
  temperature: 298""",
    "gauge": "battery Battery -312500 4215000\nusb USB 480000 5000000",
    "rails": "s2mpg10-odpm 9\ns2mpg11-odpm 9",
    "rapl": "",
    "space": "/dev/block/dm-41     114713160 30713160  83868928  27% /data/user/0",
    "execute": "executed",
    "boot": "2f5c3a2e-5b0e-4f0c-9d7a-0d4f2b1d9a11",
    "load": "1.62 1.40 1.31 2/4189 21177",
    "end": "",
}


def script_output(**changed: str) -> str:
    """What the script prints on this phone, with some sections changed."""
    sections = {**SECTIONS, **changed}
    return "".join(f"@@ {name}\n{text}\n" for name, text in sections.items())


def phone(properties: dict[str, str] | None = None, **changed: str) -> Facts:
    """The facts of this phone, with some changed."""
    return Facts.parse(script_output(**changed), {**PROPERTIES, **(properties or {})})
