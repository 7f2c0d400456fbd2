from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from adapt.errors import InputError
from adapt.network import shrink
from adapt.network.export import to_tflite
from adapt.network.load import Network, load_model

NetworkOf = Callable[..., Network]
RandomKeep = Callable[..., dict[str, list[int]]]

# Makes other models first, then the shrunk network, and prints the digest of its file.
ELSEWHERE = """
import hashlib, json, sys
from pathlib import Path
from adapt.telemetry import import_tensorflow
import_tensorflow()
import keras
from adapt.network import shrink
from adapt.network.export import to_tflite
from adapt.network.groups import find_groups
from adapt.network.load import load_model

for _ in range(5):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()])
model = load_model(Path(sys.argv[1]))
keep, groups = json.loads(sys.argv[2]), find_groups(model)
smaller = shrink.build(model, groups, {name: len(kept) for name, kept in keep.items()})
weights = shrink.slice_weights(shrink.read_weights(model), groups, keep)
shrink.write_weights(smaller, weights)
print(hashlib.sha256(to_tflite(smaller)).hexdigest())
"""


def shrunk(network: Network, keep: dict[str, list[int]]) -> keras.Model:
    return network.shrunk(keep, shrink.slice_weights(network.weights, network.groups, keep))


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
def test_same_bytes_whatever_was_made_in_between(
    network_of: NetworkOf, random_keep: RandomKeep, int8: bool
) -> None:
    network = network_of("demo", int8=int8)
    keep = random_keep(network.groups, 8)
    first = network.to_tflite(shrunk(network, keep))
    keras.applications.MobileNet(input_shape=(32, 32, 3), weights=None, alpha=0.25)
    network.to_tflite(network.model)
    assert network.to_tflite(shrunk(network, keep)) == first


def test_same_bytes_in_another_process(
    network_of: NetworkOf, random_keep: RandomKeep, tmp_path: Path
) -> None:
    network = network_of("demo")
    keep = random_keep(network.groups, 9)
    path = tmp_path / "network.keras"
    network.model.save(path)
    result = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path), json.dumps(keep)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    expected = hashlib.sha256(to_tflite(shrunk(network, keep))).hexdigest()
    assert result.stdout == expected + "\n"


def test_same_bytes_of_a_sequential_model_loaded_twice(tmp_path: Path) -> None:
    path = tmp_path / "network.keras"
    keras.Sequential(
        [keras.Input((8, 8, 3)), keras.Sequential([layers.Conv2D(4, 3)]), layers.Flatten()]
    ).save(path)
    assert to_tflite(load_model(path)) == to_tflite(load_model(path))


def test_computes_what_keras_does(network_of: NetworkOf, random_keep: RandomKeep) -> None:
    network = network_of("demo")
    model = shrunk(network, random_keep(network.groups, 3))
    x = np.random.default_rng(1).random((1, 8, 8, 1), np.float32)
    expected = model(x, training=False).numpy()
    np.testing.assert_allclose(run(to_tflite(model), x), expected, atol=1e-5)


def test_int8_comes_close(network_of: NetworkOf) -> None:
    network = network_of("demo", int8=True)
    content = network.to_tflite(network.model)
    interpreter = Interpreter(model_content=content, num_threads=1)
    details = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert [d["dtype"] for d in details] == [np.int8, np.int8]
    (scale, zero), (out_scale, out_zero) = (d["quantization"] for d in details)
    images = np.random.default_rng(1).random((8, 1, 8, 8, 1), np.float32)
    for x in images:
        stored = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
        got = (run(content, stored).astype(np.float32) - out_zero) * out_scale
        np.testing.assert_allclose(got, network.model(x, training=False).numpy(), atol=0.15)


def test_nothing_is_printed(
    network_of: NetworkOf, random_keep: RandomKeep, capfd: pytest.CaptureFixture[str]
) -> None:
    network = network_of("demo", int8=True)
    capfd.readouterr()
    to_tflite(network.model)
    network.to_tflite(shrunk(network, random_keep(network.groups, 1)))
    assert capfd.readouterr().out == ""


def test_batch_is_one(network_of: NetworkOf) -> None:
    network = network_of("demo")
    assert str(network.kernels({})[0].inputs[0]) == "float32[1,8,8,1]"


def test_what_has_no_operator_is_refused() -> None:
    import tensorflow as tf

    image = keras.Input((8,), name="image")
    model = keras.Model(image, layers.Lambda(tf.math.erfinv, output_shape=(8,))(image))
    with pytest.raises(InputError, match=r"(?s)cannot convert .*Erfinv") as caught:
        to_tflite(model)
    assert caught.value.exit_code == 5
    assert "\n" in str(caught.value)
