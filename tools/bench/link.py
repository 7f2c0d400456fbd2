"""How fast a link to a device is, and whether it leaves anything behind.

    python -m tests.fleet.adb.lab &     # an adbd to measure with; prints HOST:PORT
    python tools/bench/link.py HOST:PORT [--agent-python PYTHON] [--cycles 200]

Times a connection, a program, pushes, and gRPC through the link: calls, and one of 20 MB. Then
connects and disconnects, and compares threads, open files and agents before and after.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from adapt.fleet.device import MeasureOptions, ModelFile
from adapt.fleet.link import Link
from adapt.fleet.phones import open_link
from adapt.fleet.remote import RemoteDevice

PUSHES = (1 << 10, 1 << 20, 50 << 20)
BODY_BYTES = 20_000_000


def median_ms(action: Callable[[], object], times: int) -> float:
    """Of how long `action` takes."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(taken)


def census() -> tuple[int, int]:
    """Threads and open files of this process."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def measure_link(connect: Callable[[], Link], remote: str) -> None:
    """Connection, programs, pushes."""
    print(f"connect and close      {median_ms(lambda: connect().close(), 20):8.2f} ms")
    with connect() as link, tempfile.TemporaryDirectory() as folder:
        run = median_ms(lambda: link.shell(["true"], timeout_s=10), 50)
        print(f"a program              {run:8.2f} ms")
        local = Path(folder) / "local"
        for size in PUSHES:
            local.write_bytes(os.urandom(size))
            begin = time.perf_counter()
            link.push(local, f"{remote}/adapt-bench-link")
            seconds = time.perf_counter() - begin
            print(
                f"push of {size:11,} B  {seconds * 1e3:8.2f} ms  {size / seconds / 1e6:6.1f} MB/s"
            )
        link.shell(["rm", f"{remote}/adapt-bench-link"], timeout_s=10)


def measure_agent(connect: Callable[[], Link], command: list[str]) -> None:
    """gRPC through the link."""
    with RemoteDevice("device", connect(), command) as device:
        device.describe()
        print(f"Describe               {median_ms(device.describe, 200):8.2f} ms")
        body = ModelFile("zeros", bytes(BODY_BYTES))
        # What is no model is refused at once, by a worker that is started for it first.
        small = ModelFile("zeros", bytes(1000))
        options = MeasureOptions(time_limit_ms=1000)
        base = median_ms(lambda: device.measure([small], options), 5)
        whole = median_ms(lambda: device.measure([body], options), 5)
        rate = BODY_BYTES / max(whole - base, 1e-3) / 1e3
        print(f"Measure of 20 MB       {whole:8.2f} ms  {rate:6.1f} MB/s over one of 1 kB")


def cycle(connect: Callable[[], Link], command: list[str], cycles: int) -> None:
    """Connections and agents, over and over."""
    connect().close()
    before = census()
    begin = time.perf_counter()
    for number in range(cycles):
        if number % 20:
            with connect() as link:
                link.shell(["true"], timeout_s=10)
        else:
            with RemoteDevice("device", connect(), command) as device:
                device.describe()
    seconds = time.perf_counter() - begin
    print(f"{cycles} cycles in {seconds:.1f} s: threads and files {before} -> {census()}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("serial", help="as adb calls the device")
    parser.add_argument("--agent-python", default=sys.executable, help="a Python on the device")
    parser.add_argument("--folder", default="/data/local/tmp", help="on the device, for pushes")
    parser.add_argument("--cycles", type=int, default=200)
    arguments = parser.parse_args()
    command = [arguments.agent_python, "-s", "-m", "device_agent"]
    with tempfile.TemporaryDirectory() as home:

        def connect() -> Link:
            return open_link(arguments.serial, Path(home))

        measure_link(connect, arguments.folder)
        measure_agent(connect, command)
        cycle(connect, command, arguments.cycles)


if __name__ == "__main__":
    main()
