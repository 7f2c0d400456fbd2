"""How well the sum of a table's kernels predicts whole networks that nobody measured before.

    python tools/bench/predict.py [--networks N] [--quantize int8] [--large-only]

Random width vectors of the bundled network, of Keras' MobileNet 0.25 at 96 pixels and, where it is
found, of ResNet-8, then networks with more weights than most caches hold, and the .tflite files of
the shared folder, are measured whole and priced from their kernels, on this machine, in one run.
Each is priced twice: with hot times only, and with cold times where its weights need them. Prints
one line a network, then median, quartiles, 95th percentile and largest of both errors.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapt.telemetry import import_tensorflow

import_tensorflow()

import keras  # noqa: E402

from adapt.cost.base import Missing  # noqa: E402
from adapt.cost.cold import CACHE_FACT, COLD_FROM  # noqa: E402
from adapt.cost.table import TableLatency, open_table  # noqa: E402
from adapt.demo import MODEL  # noqa: E402
from adapt.fleet.local import LocalDevice  # noqa: E402
from adapt.network.export import to_tflite  # noqa: E402
from adapt.network.load import Network, load_model  # noqa: E402
from adapt.network.shrink import slice_weights  # noqa: E402
from adapt.refresh import measure_missing, measure_networks  # noqa: E402
from adapt.tflite.quantities import weight_bytes  # noqa: E402
from adapt.tflite.reader import read_kernels  # noqa: E402
from lookup_tables import Kernel, Store  # noqa: E402

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[3] / "shared"))

# Networks measured side by side: their ratio holds on a machine that drifts.
TOGETHER = 8


@dataclass(frozen=True)
class Case:
    """One network: its file, and the kernels to price it from."""

    name: str
    content: bytes
    kernels: Sequence[Kernel]


@dataclass(frozen=True)
class Errors:
    """Relative errors of both prices of one network, and its weights as a share of the cache."""

    weights: float
    hot: float
    cold: float


def models() -> Iterator[keras.Model]:
    """The networks whose versions are measured."""
    yield load_model(MODEL)
    mobilenet = keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=10)
    yield keras.Model(mobilenet.inputs[0], mobilenet.outputs[0], name="mobilenet_0.25_96")
    resnet = SHARED / "models" / "resnet8_cifar10.h5"
    if resnet.exists():
        yield load_model(resnet)


def versions(network: Network, count: int, seed: int) -> Iterator[dict[str, range]]:
    """The whole network, and `count` - 1 with random widths from a quarter up."""
    yield {}
    random = np.random.default_rng(seed)
    for _ in range(count - 1):
        yield {
            name: range(int(random.integers(max(1, width // 4), width + 1)))
            for name, width in network.widths.items()
        }


def samples(model: keras.Model) -> list[np.ndarray]:
    """Calibration inputs for int8: any will do where only time counts."""
    random = np.random.default_rng(0)
    return [random.normal(size=(1, *model.inputs[0].shape[1:])).astype("f") for _ in range(8)]


def shrunk_cases(model: keras.Model, count: int, int8: bool) -> Iterator[Case]:
    """Versions of one network, their kernels from its template."""
    calibration = samples(model) if int8 else None
    network = Network(model, quantized_samples=calibration)
    for number, keep in enumerate(versions(network, count, seed=1)):
        weights = slice_weights(network.weights, network.groups, keep)
        content = to_tflite(network.shrunk(keep, weights), calibration)
        widths = {name: len(kept) for name, kept in keep.items()}
        yield Case(f"{model.name} {number}", content, network.kernels(widths))


def large_cases(int8: bool) -> Iterator[Case]:
    """Networks with more weights than an L2 of 1 MiB, and the files of the shared folder."""
    applications: list[tuple[str, Callable[[], keras.Model]]] = [
        (
            f"mobilenet_{alpha}_{size}",
            lambda a=alpha, s=size: keras.applications.MobileNet((s, s, 3), a, weights=None),
        )
        for alpha, size in ((0.5, 128), (1.0, 128))
    ]
    applications += [
        (
            f"mobilenet_v2_{alpha}_{size}",
            lambda a=alpha, s=size: keras.applications.MobileNetV2((s, s, 3), a, weights=None),
        )
        for alpha, size in ((0.35, 96), (0.5, 128), (1.0, 128), (1.0, 160))
    ]
    for name, build in applications:
        model = build()
        content = to_tflite(model, samples(model) if int8 else None)
        yield Case(name, content, read_kernels(content))
        keras.backend.clear_session()
    autoencoder = SHARED / "models" / "anomaly_autoencoder.h5"
    if autoencoder.exists():
        model = load_model(autoencoder)
        content = to_tflite(model, samples(model) if int8 else None)
        yield Case(model.name, content, read_kernels(content))
    for path in sorted((SHARED / "models").glob("[!i]*.tflite")):
        content = path.read_bytes()
        yield Case(path.stem, content, read_kernels(content))


def fill(store: Store, device: LocalDevice, table: TableLatency, cases: Sequence[Case]) -> None:
    """Measure all that pricing the cases needs."""
    while True:
        lacks = []
        for case in cases:
            try:
                table.price(case.kernels)
            except Missing as lack:
                lacks.append(lack)
        if not lacks:
            return
        lack = Missing.together(lacks)
        start = time.monotonic()
        done = measure_missing(store, device, lack)
        print(
            f"  measured {len(lack.kernels)} hot, {len(lack.cold)} cold, {len(lack.facts)} facts"
            f" in {time.monotonic() - start:.1f} s; failed: {list(done.failed.values())}"
        )
        if done.failed:
            raise SystemExit("not every kernel could be measured")


def compare(store: Store, device: LocalDevice, cases: Sequence[Case]) -> list[Errors]:
    """Measure and price the cases; print and return the errors of both prices."""
    platform = device.platform("xnnpack", 1, 0)
    table = TableLatency(store, platform)
    fill(store, device, table, cases)
    hot_only = TableLatency(store, platform, cold=False)
    cache = store.facts(platform)[CACHE_FACT].value
    errors: list[Errors] = []
    for first in range(0, len(cases), TOGETHER):
        some = cases[first : first + TOGETHER]
        measured = measure_networks(store, device, [case.content for case in some])
        for case, whole in zip(some, measured, strict=True):
            hot = hot_only.price(case.kernels)["latency"].value / whole.latency_us - 1
            cold = table.price(case.kernels)["latency"].value / whole.latency_us - 1
            weights = sum(map(weight_bytes, case.kernels)) / cache
            errors.append(Errors(weights, hot, cold))
            print(
                f"{case.name:32} {len(case.kernels):3} kernels  weights {weights:5.2f} caches"
                f"  measured {whole.latency_us:9.1f} us +-{whole.relative_error:4.1%}"
                f"  hot only {hot:+6.1%}  hot and cold {cold:+6.1%}",
                flush=True,
            )
    return errors


def summarise(title: str, errors: Sequence[Errors]) -> None:
    """Print the distribution of absolute errors of both prices."""
    for price, values in (
        ("hot only", [each.hot for each in errors]),
        ("hot and cold", [each.cold for each in errors]),
    ):
        sizes = sorted(map(abs, values))
        low, middle, high = statistics.quantiles(sizes, n=4, method="inclusive")
        p95 = statistics.quantiles(sizes, n=20, method="inclusive")[-1]
        print(
            f"{len(sizes):3} {title}, {price:12} median {middle:6.2%} (quartiles {low:.2%},"
            f" {high:.2%}), 95th percentile {p95:6.2%}, largest {sizes[-1]:6.2%}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=8, help="versions of each small network")
    parser.add_argument("--quantize", choices=["float32", "int8"], default="float32")
    parser.add_argument("--large-only", action="store_true", help="no versions of small networks")
    arguments = parser.parse_args()
    int8 = arguments.quantize == "int8"
    groups = (
        []
        if arguments.large_only
        else [list(shrunk_cases(model, arguments.networks, int8)) for model in models()]
    )
    groups.append(list(large_cases(int8)))
    errors: list[Errors] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalDevice() as device,
        open_table(Path(folder) / "tables.db") as store,
    ):
        for cases in groups:
            errors += compare(store, device, cases)
        cache = store.facts(device.platform("xnnpack", 1, 0))[CACHE_FACT].value
    print(f"cache {cache / 1024:.0f} KiB")
    summarise("networks", errors)
    summarise(
        f"with more than {COLD_FROM} caches", [each for each in errors if each.weights > COLD_FROM]
    )


if __name__ == "__main__":
    main()
