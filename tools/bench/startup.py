"""How long `adapt --help` takes: what a user waits for before reading a word.

Usage: startup.py [RUNS]. Prints median and spread of whole processes, and the share of Python's own
start, without which nothing can be.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RUNS = 20
ADAPT = Path(sys.executable).with_name("adapt")


def seconds(command: Sequence[str | Path]) -> float:
    """Wall time of one process, seconds."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "adapt --help": [ADAPT, "--help"],
        "adapt run --help": [ADAPT, "run", "--help"],
    }
    for command in commands.values():
        seconds(command)  # Into the page cache.
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):  # In turns, so that a busy moment meets all.
        for name, command in commands.items():
            times[name].append(seconds(command))
    for name, values in times.items():
        median, low, high = statistics.median(values), min(values), max(values)
        print(
            f"{name:18} {median * 1e3:6.1f} ms  ({low * 1e3:.1f} to {high * 1e3:.1f}, {runs} runs)"
        )


if __name__ == "__main__":
    main()
