"""Chooses the shares of the caches on one half of the networks, and tests them on the other.

    python tools/bench/predict.py --folder DIR
    python tools/bench/thresholds.py --folder DIR

Reads what `predict.py` left in the folder: networks, table and measured latencies. Halves are made
of whole architectures, each with all its sizes, types and pruned versions, so that no network was
chosen on that is tested. Both halves take both turns. Without a folder, `predict.py` runs first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from support.networks import SHARED
from support.statistics import Error, summary

from adapt.cost.cold import SHARES, Shares
from adapt.cost.table import TableLatency
from adapt.tflite.reader import read_kernels
from lookup_tables import Kernel, Platform, Store

# What each share is tried at; the product's own value is tried as well.
CANDIDATES = {
    "cold_from": (0.4, 0.6, 0.8, 1.0),
    "cold_until": (1.2, 1.4, 1.8, 2.5),
    "l3_from": (0.25, 0.5, 0.75),
    "l3_until": (1.0, 1.5, 2.0),
    "output_from": (0.1, 0.2, 0.3, 0.5, 0.8),
    "output_until": (1.0, 1.5, 2.0, 3.0, 100.0),
}

# Rounds in which every share is moved once; the second changes little.
ROUNDS = 2

Network = tuple[str, float, list[Kernel]]


def architecture(name: str) -> str:
    """What a network is a size, type or version of."""
    for prefix in ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "efficientnet", "resnet50"):
        if name.startswith(prefix):
            return prefix
    return name.split("-")[0].split("_")[0]


def halves(networks: Sequence[Network]) -> tuple[list[Network], list[Network]]:
    """Alternate architectures, in the order of their names."""
    names = sorted({architecture(name) for name, *_ in networks})
    first = set(names[::2])
    return (
        [network for network in networks if architecture(network[0]) in first],
        [network for network in networks if architecture(network[0]) not in first],
    )


def errors(
    store: Store, platform: Platform, networks: Sequence[Network], shares: Shares
) -> list[Error]:
    """Prices with `shares` beside what was measured.

    Cold times that were not needed at the shares as shipped are not known: the hot ones stand.
    """
    table = TableLatency(store, platform, shares=shares)
    found = []
    for name, measured, kernels in networks:
        known = [answer for answer in table.answers(kernels)[0] if answer is not None]
        assert len(known) == len(kernels)
        predicted = table.call.latency_us + sum(answer.latency_us for answer in known)
        found.append(Error(name, measured, predicted))
    return found


def badness(found: Sequence[Error]) -> float:
    """Median and tail of the errors in one number."""
    sizes = [abs(error.relative) for error in found]
    p95 = statistics.quantiles(sizes, n=20, method="inclusive")[-1]
    return statistics.median(sizes) + p95 / 3


def choose(store: Store, platform: Platform, networks: Sequence[Network]) -> Shares:
    """The shares that suit `networks` best, moved one at a time."""
    best, least = SHARES, badness(errors(store, platform, networks, SHARES))
    for _ in range(ROUNDS):
        for field in fields(Shares):
            for value in CANDIDATES[field.name]:
                tried = replace(best, **{field.name: value})
                found = badness(errors(store, platform, networks, tried))
                if found < least:
                    best, least = tried, found
    return best


def main() -> None:
    """Choose and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="of a run of predict.py")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if arguments.folder is None:
            script = Path(__file__).with_name("predict.py")
            subprocess.run([sys.executable, script, "--folder", folder], check=True)
        report(folder)


def report(folder: Path) -> None:
    """Choose on each half and print the errors of the other."""
    measured = json.loads((folder / "predict.json").read_text())["table"]
    networks: list[Network] = []
    for each in measured:
        path = folder / f"{each['name']}.tflite"
        path = path if path.exists() else SHARED / "models" / path.name
        networks.append((each["name"], each["measured"], read_kernels(path.read_bytes())))
    with Store(folder / "tables.db") as store:
        (platform,) = store.platforms()
        one, other = halves(networks)
        for chosen_on, tested_on in ((one, other), (other, one)):
            shares = choose(store, platform, chosen_on)
            names = sorted({architecture(name) for name, *_ in chosen_on})
            print(f"chosen on {', '.join(names)}: {shares}")
            print("  there        ", summary(errors(store, platform, chosen_on, shares)))
            print("  other half   ", summary(errors(store, platform, tested_on, shares)))
            print("  as shipped   ", summary(errors(store, platform, tested_on, SHARES)))


if __name__ == "__main__":
    main()
