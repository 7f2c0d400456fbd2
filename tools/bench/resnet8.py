"""ResNet-8 on CIFAR-10 to half its latency, beside a width multiplier of equal latency.

    python tools/bench/resnet8.py [--seeds 1] [--budget latency=50%]

Needs ResNet-8 (resnet8_cifar10.h5 of MLPerf Tiny) and CIFAR-10 as JPEG files in class folders:
$ADAPT_SHARED, or a folder `shared` beside the checkout, with models/resnet8_cifar10.h5 and
data/cifar10-{train,test}.zip. Runs `adapt run` once for each seed and prints, for each network,
measured and predicted latency, their difference, test accuracy, and the wall time of all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[3] / "shared"))


def unpack(folder: Path) -> Path:
    """The data set as an image folder with train/ and test/."""
    for part in ("train", "test"):
        with zipfile.ZipFile(SHARED / "data" / f"cifar10-{part}.zip") as archive:
            archive.extractall(folder)
    return folder / "cifar10"


def adapt(data: Path, output: Path, seed: int, budget: str) -> tuple[dict, float]:  # type: ignore[type-arg]
    """One run: its result and its wall time in seconds."""
    started = time.monotonic()
    run = subprocess.run(
        [
            *(sys.executable, "-m", "adapt", "run", "--json", "--budget", budget),
            *("--model", SHARED / "models" / "resnet8_cifar10.h5", "--data", data),
            *("--compare", "uniform", "--seed", str(seed), "--output", output),
        ],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(run.stdout), time.monotonic() - started


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--budget", default="latency=50%")
    arguments = parser.parse_args()
    if not (SHARED / "models" / "resnet8_cifar10.h5").exists():
        sys.exit(f"skipped: no ResNet-8 under {SHARED}")
    with tempfile.TemporaryDirectory() as folder:
        data = unpack(Path(folder))
        for seed in range(arguments.seeds):
            result, seconds = adapt(data, Path(folder) / f"job{seed}", seed, arguments.budget)
            original = result["networks"][0]["measured"]["latency_us"]
            print(f"seed {seed}: {seconds:.0f} s in all; {result['seconds']}")
            for network in result["networks"]:
                measured = network["measured"]["latency_us"]
                predicted = sum(network["cost"]["latency"].values())
                print(
                    f"  {network['name']:9} measured {measured:7.1f} us"
                    f" +-{network['measured']['relative_error']:.1%} ({measured / original:.1%}),"
                    f" predicted {predicted:7.1f} us ({predicted / measured - 1:+.1%}),"
                    f" test accuracy {network['test_accuracy']:.2%}, steps"
                    f" {network['steps_trained']}, widths {list(network['widths'].values())}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
