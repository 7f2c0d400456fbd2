"""How well the sum of a table's kernels predicts whole networks that nobody measured before.

    python tools/bench/predict.py [--networks N] [--quantize int8]

Random width vectors of the bundled network, of Keras' MobileNet 0.25 at 96 pixels and, where it is
found, of ResNet-8 are converted, measured whole and priced from their kernels, on this machine, in
one run. Prints one line a network, then median, 95th percentile and largest error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adapt.telemetry import import_tensorflow

import_tensorflow()

import keras  # noqa: E402

from adapt.cost.table import TableLatency, open_table  # noqa: E402
from adapt.demo import MODEL  # noqa: E402
from adapt.fleet.local import LocalDevice  # noqa: E402
from adapt.network.export import to_tflite  # noqa: E402
from adapt.network.load import Network, load_model  # noqa: E402
from adapt.network.shrink import slice_weights  # noqa: E402
from adapt.refresh import measure_kernels, measure_networks  # noqa: E402

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[3] / "shared"))


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=8, help="versions of each network")
    parser.add_argument("--quantize", choices=["float32", "int8"], default="float32")
    arguments = parser.parse_args()
    errors = []
    with tempfile.TemporaryDirectory() as folder, LocalDevice() as device:
        store = open_table(Path(folder) / "tables.db")
        platform = device.platform("xnnpack", 1, 0)
        for model in models():
            calibration = samples(model) if arguments.quantize == "int8" else None
            network = Network(model, quantized_samples=calibration)
            keeps = list(versions(network, arguments.networks, seed=1))
            files, kernels = [], []
            for keep in keeps:
                weights = slice_weights(network.weights, network.groups, keep)
                files.append(to_tflite(network.shrunk(keep, weights), calibration))
                widths = {name: len(kept) for name, kept in keep.items()}
                kernels.append(network.kernels(widths))
            measure_kernels(store, device, [k for each in kernels for k in each])
            table = TableLatency(store, platform)
            for measured, each in zip(measure_networks(store, device, files), kernels, strict=True):
                predicted = table.price(each)["latency"].value
                error = predicted / measured.latency_us - 1
                errors.append(abs(error))
                print(
                    f"{model.name:20} {len(each):3} kernels  measured {measured.latency_us:9.1f} us"
                    f" +-{measured.relative_error:.1%}  predicted {predicted:9.1f} us  {error:+.1%}"
                )
        store.close()
    errors.sort()
    print(
        f"{len(errors)} networks: median error {statistics.median(errors):.2%},"
        f" 95th percentile {errors[int(0.95 * (len(errors) - 1))]:.2%}, largest {errors[-1]:.2%}"
    )


if __name__ == "__main__":
    main()
