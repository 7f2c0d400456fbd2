"""Networks for benchmarks, as .tflite files: whole ones of Keras and of others, and pruned ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapt.telemetry import import_tensorflow

import_tensorflow()

import keras  # noqa: E402
from keras import applications  # noqa: E402

from adapt.demo import MODEL  # noqa: E402
from adapt.network.export import to_tflite  # noqa: E402
from adapt.network.load import Network, load_model  # noqa: E402
from adapt.network.shrink import slice_weights  # noqa: E402
from adapt.tflite.reader import read_kernels  # noqa: E402
from lookup_tables import Kernel  # noqa: E402

__all__ = [
    "DTYPES",
    "PRUNABLE",
    "SHARED",
    "Case",
    "prunable",
    "pruned",
    "samples",
    "versions",
    "whole",
]

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[4] / "shared"))

DTYPES = ("float32", "int8")

Build = Callable[[], keras.Model]


@dataclass(frozen=True)
class Case:
    """One network: its file, and the kernels to price it from.

    `origin` is the network that a pruned one was made from; empty for whole ones.
    """

    name: str
    content: bytes
    kernels: Sequence[Kernel]
    origin: str = ""

    @property
    def dtype(self) -> str:
        """Type of the first operator's output: float32, or an integer."""
        return self.kernels[0].dtype


def _application(make: Callable[..., keras.Model], size: int, *shape: object) -> Build:
    return lambda: make((size, size, 3), *shape, weights=None)


def _mobilenet_v3(size: int) -> Build:
    return lambda: applications.MobileNetV3Small((size, size, 3), weights=None)


def _efficientnet(size: int) -> Build:
    return lambda: applications.EfficientNetB0(input_shape=(size, size, 3), weights=None)


def _resnet50(size: int) -> Build:
    return lambda: applications.ResNet50(input_shape=(size, size, 3), weights=None)


_WHOLE: dict[str, Build] = {
    "mobilenet_v1-224": _application(applications.MobileNet, 224),
    "mobilenet_v1-0.5-160": _application(applications.MobileNet, 160, 0.5),
    "mobilenet_v2-224": _application(applications.MobileNetV2, 224),
    "mobilenet_v2-0.5-128": _application(applications.MobileNetV2, 128, 0.5),
    "mobilenet_v3_small-224": _mobilenet_v3(224),
    "mobilenet_v3_small-128": _mobilenet_v3(128),
    "efficientnet_b0-224": _efficientnet(224),
    "efficientnet_b0-128": _efficientnet(128),
    "resnet50-128": _resnet50(128),
    "resnet50-224": _resnet50(224),
}

_PRUNED: dict[str, Build] = {
    "digits": lambda: load_model(MODEL),
    "mobilenet_v1-0.25-96": _application(applications.MobileNet, 96, 0.25),
    "mobilenet_v1-0.5-128": _application(applications.MobileNet, 128, 0.5),
    "mobilenet_v2-224": _application(applications.MobileNetV2, 224),
    "resnet8": lambda: load_model(SHARED / "models" / "resnet8_cifar10.h5"),
}


# Names of the networks that are pruned.
PRUNABLE = tuple(_PRUNED)


def prunable(name: str) -> keras.Model:
    """One of PRUNABLE, whole."""
    return _PRUNED[name]()


def whole(folder: Path) -> Iterator[Case]:
    """Networks as they are: of Keras, float32 and int8, and those of the shared folder.

    What was converted is kept in `folder` and read from there the next time.
    """
    for name, build in _WHOLE.items():
        for dtype in DTYPES:
            path = folder / f"{name}-{dtype}.tflite"
            if not path.exists():
                model = build()
                path.write_bytes(to_tflite(model, samples(model) if dtype == "int8" else None))
                keras.backend.clear_session()
            yield _case(path)
    # One of the files is meant to be refused.
    for path in sorted((SHARED / "models").glob("[!i]*.tflite")):
        yield _case(path)


def pruned(folder: Path, count: int, seed: int = 1) -> Iterator[Case]:
    """`count` versions with random widths of each of several networks, float32 and int8."""
    for name, build in _PRUNED.items():
        if name == "resnet8" and not SHARED.exists():
            continue
        for dtype in DTYPES:
            paths = [folder / f"{name}-{dtype}-{seed}.{n}.tflite" for n in range(count)]
            if not all(path.exists() for path in paths):
                _write_versions(build(), dtype, paths, seed)
                keras.backend.clear_session()
            yield from (_case(path, name) for path in paths)


def _write_versions(model: keras.Model, dtype: str, paths: Sequence[Path], seed: int) -> None:
    calibration = samples(model) if dtype == "int8" else None
    network = Network(model)
    for path, keep in zip(paths, versions(network, len(paths), seed), strict=True):
        weights = slice_weights(network.weights, network.groups, keep)
        path.write_bytes(to_tflite(network.shrunk(keep, weights), calibration))


def _case(path: Path, origin: str = "") -> Case:
    content = path.read_bytes()
    return Case(path.stem, content, read_kernels(content), origin)


def versions(network: Network, count: int, seed: int) -> Iterator[dict[str, range]]:
    """What `count` networks with random widths, from a quarter of the whole up, keep."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield {
            name: range(int(random.integers(max(1, width // 4), width + 1)))
            for name, width in network.widths.items()
        }


def samples(model: keras.Model) -> list[np.ndarray]:
    """Calibration inputs for int8: any will do where only time counts."""
    random = np.random.default_rng(0)
    return [random.normal(size=(1, *model.inputs[0].shape[1:])).astype("f") for _ in range(4)]
