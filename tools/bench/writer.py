"""Time to write a kernel as a flatbuffer, beside the time to convert the same Keras layer.

    python tools/bench/writer.py

Prints one line a kernel: median and 10th to 90th percentile of each, in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from adapt.tflite.reader import read_kernels
from adapt.tflite.writer import write_kernel

WRITES = 200
# A conversion takes a hundred times as long.
CONVERSIONS = 7

SAMPLES = 2


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep the converter, which prints from C++, off the terminal."""
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for target, source in zip((1, 2), saved, strict=True):
            os.dup2(source, target)
            os.close(source)
        os.close(null)


def milliseconds(action: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile of the time that `action` takes."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        action()
        times.append((time.perf_counter_ns() - start) / 1e6)
    low, middle, high = np.percentile(times, [10, 50, 90])
    return float(middle), float(low), float(high)


def converter(layers: Any, layer: Any, shape: tuple[int, ...], int8: bool) -> Callable[[], bytes]:
    """What converts a network of one layer, of batch 1."""
    import tensorflow as tf

    source = layers.Input(shape, batch_size=1)
    network = tf.keras.Model(source, layer(source))
    sample = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)

    def convert() -> bytes:
        tool = tf.lite.TFLiteConverter.from_keras_model(network)
        if int8:
            tool.optimizations = [tf.lite.Optimize.DEFAULT]
            tool.representative_dataset = lambda: iter([[sample]] * SAMPLES)
            tool.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            tool.inference_input_type = tool.inference_output_type = tf.int8
        return bytes(tool.convert())

    return convert


def main() -> None:
    """Measure and print."""
    with silence():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
    warnings.simplefilter("ignore")
    layers = tf.keras.layers
    cases: list[tuple[str, tuple[int, ...], Callable[[], Any]]] = [
        ("conv 3x3, 16 to 16", (32, 32, 16), lambda: layers.Conv2D(16, 3, padding="same")),
        ("conv 3x3, 256 to 512", (8, 8, 256), lambda: layers.Conv2D(512, 3, padding="same")),
        ("depthwise 3x3, 64", (32, 32, 64), lambda: layers.DepthwiseConv2D(3, padding="same")),
        ("dense, 1024 to 1000", (1024,), lambda: layers.Dense(1000)),
        ("max pool 2x2, 64", (32, 32, 64), lambda: layers.MaxPooling2D()),
    ]
    print(f"{'kernel':32} {'written, ms':>24} {'converted, ms':>28} {'ratio':>7}")
    for name, shape, layer in cases:
        for int8 in (False, True):
            with silence():
                convert = converter(layers, layer(), shape, int8)
                kernel = read_kernels(convert())[0]
                slow = milliseconds(convert, CONVERSIONS)
            fast = milliseconds(partial(write_kernel, kernel), WRITES)
            spread = [f"{m:9.3f} ({lo:.3f} - {hi:.3f})" for m, lo, hi in (fast, slow)]
            label = f"{name}, {'int8' if int8 else 'float32'}"
            print(f"{label:32} {spread[0]:>24} {spread[1]:>28} {slow[0] / fast[0]:7.0f}")


if __name__ == "__main__":
    main()
