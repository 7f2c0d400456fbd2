from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest
from keras import layers

from adapt.errors import InputError
from adapt.network.groups import find_groups
from adapt.network.load import file_digest, load_model, load_network
from tests.network.architectures import ARCHITECTURES


class Subclassed(keras.Model):  # type: ignore[misc]  # Keras ships no types
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        self.dense = layers.Dense(3)

    def call(self, x: object) -> object:
        return self.dense(x)


@keras.saving.register_keras_serializable("tests")
class Registered(Subclassed):
    """One that Keras finds again."""


@keras.saving.register_keras_serializable("tests")
class Functional(keras.Model):  # type: ignore[misc]  # Keras ships no types
    """A subclass that is made of inputs and outputs, of which Keras keeps a graph."""


Layers = Callable[[], list[layers.Layer]]


@keras.saving.register_keras_serializable("tests")
class Doubled(Functional):
    """One whose graph does not say what it computes."""

    def call(self, x: object) -> object:
        return 2 * super().call(x)


@pytest.fixture
def small(chain: Callable[..., keras.Model]) -> keras.Model:
    return chain(
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.DepthwiseConv2D(3),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    )


def refuse(path: Path, *parts: str) -> None:
    """Loading fails with one clear message, which names the file and holds `parts`."""
    with pytest.raises(InputError) as caught:
        load_model(path)
    message = str(caught.value)
    assert path.name in message
    for part in parts:
        assert part in message
    assert caught.value.exit_code == 5
    assert caught.value.todo
    assert len(message.splitlines()) == 2


def assert_same(model: keras.Model, loaded: keras.Model) -> None:
    x = np.random.default_rng(0).random((2, *model.inputs[0].shape[1:]), np.float32)
    np.testing.assert_array_equal(loaded(x).numpy(), model(x).numpy())


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_functional_model(small: keras.Model, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    small.save(path)
    loaded = load_model(path)
    assert loaded.name == small.name
    assert_same(small, loaded)


@pytest.mark.parametrize(
    ("last", "logits"),
    [
        (lambda: [layers.Dense(3)], True),
        (lambda: [layers.Dense(3, activation="log_softmax")], True),
        (lambda: [layers.Dense(3), layers.Activation("linear"), layers.Dropout(0.5)], True),
        (lambda: [layers.Dense(3), layers.Softmax()], False),
        (lambda: [layers.Dense(3, activation="softmax"), layers.Activation("linear")], False),
        (lambda: [layers.Dense(3), layers.Activation("softmax"), layers.Reshape((3,))], False),
    ],
)
def test_what_the_outputs_are(
    chain: Callable[..., keras.Model], tmp_path: Path, last: Layers, logits: bool
) -> None:
    chain(layers.Flatten(), *last()).save(tmp_path / "model.keras")
    assert load_network(tmp_path / "model.keras").gives_logits == logits


@pytest.mark.parametrize(
    "last",
    [
        lambda: [layers.Dense(3, activation="sigmoid")],
        lambda: [layers.Dense(3, activation="softsign")],
        lambda: [layers.Dense(3), layers.Activation("tanh")],
        lambda: [keras.Sequential([keras.Input((192,)), layers.Dense(3, activation="sigmoid")])],
    ],
)
def test_classes_each_for_itself(
    chain: Callable[..., keras.Model], tmp_path: Path, last: Layers
) -> None:
    chain(layers.Flatten(), *last()).save(tmp_path / "model.keras")
    refuse(tmp_path / "model.keras", "goes through", "softmax")


def test_a_layer_at_the_end_that_was_called_before(tmp_path: Path) -> None:
    flatten = layers.Flatten()
    image = keras.Input((4, 4, 3))
    gate = flatten(layers.Conv2D(3, 4, activation="sigmoid")(image))
    gated = layers.Multiply()([image, layers.Reshape((1, 1, 3))(gate)])
    logits = flatten(layers.Conv2D(3, 4)(gated))
    keras.Model(image, logits).save(tmp_path / "model.keras")
    assert load_network(tmp_path / "model.keras").gives_logits


def test_network(small: keras.Model, tmp_path: Path) -> None:
    small.save(tmp_path / "model.keras")
    network = load_network(tmp_path / "model.keras")
    assert network.input_shape == (8, 8, 3)
    assert list(network.widths.values()) == [4]
    assert network.kernels({})[0].op == "CONV_2D"


def test_legacy_file_with_depthwise_groups(small: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    small.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        (depthwise,) = (
            layer["config"]
            for layer in config["config"]["layers"]
            if layer["class_name"] == "DepthwiseConv2D"
        )
        depthwise["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    loaded = load_model(path)
    assert_same(small, loaded)
    assert {type(layer).__name__ for layer in loaded.layers} >= {"DepthwiseConv2D"}
    with h5py.File(path, "a") as file:
        depthwise["groups"] = 2
        file.attrs["model_config"] = json.dumps(config)
    refuse(path, "DepthwiseConv2D")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_sequential_model_keeps_its_name(tmp_path: Path, suffix: str) -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)],
        name="mine",
    )
    model.save(tmp_path / f"model{suffix}")
    loaded = load_model(tmp_path / f"model{suffix}")
    assert loaded.name == "mine"
    assert_same(model, loaded)


def test_inputs_and_outputs_in_dicts(tmp_path: Path) -> None:
    x = keras.Input((4,), name="pixels")
    inner = keras.Model(x, layers.Dense(3)(x))
    keras.Model({"pixels": x}, {"scores": inner.outputs[0]}).save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert_same(inner, loaded)


def test_fixed_batch_is_opened(tmp_path: Path) -> None:
    x = keras.Input((4,), batch_size=2, name="pixels")
    model = keras.Model(x, layers.Dense(3)(x))
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.inputs[0].shape == (None, 4)
    assert_same(model, loaded)


def test_missing(tmp_path: Path) -> None:
    refuse(tmp_path / "none.keras", "there is no model file", "--model")


def test_folder(tmp_path: Path) -> None:
    refuse(tmp_path, "is a folder, not a .keras or .h5 file")


def test_saved_model(small: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "saved"
    small.export(path, verbose=False)
    refuse(path, "SavedModel", "model.save('model.keras')")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.tflite", b"\x1c\0\0\0TFL3", ["a TensorFlow Lite file", "trainable"]),
        ("model.keras", b"\x1c\0\0\0TFL3", ["a TensorFlow Lite file", "trainable"]),
        ("model.pt", b"PK\x03\x04", ["a PyTorch file", "ONNX"]),
        ("model.pth", b"\x80\x02", ["a PyTorch file", "ONNX"]),
        ("model.onnx", b"\x08\x07", ["an ONNX file", "Keras"]),
        ("model.pb", b"\x08\x01", ["a TensorFlow graph", "SavedModel"]),
        ("model.keras", b"Once upon a time", ["not a .keras or .h5 file", "model.save"]),
        ("model.h5", b"Once upon a time", ["not a .keras or .h5 file", "model.save"]),
        ("model.keras", b"", ["is not complete"]),
        ("model.h5", b"\x89HDF\r\n\x1a\n", ["can be loaded", "complete"]),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, *words)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_truncated(small: keras.Model, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"model{suffix}"
    small.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refuse(path, "complete" if suffix == ".h5" else "is not complete")


@pytest.mark.parametrize(("is_now", "called"), [(".keras", ".h5"), (".h5", ".keras"), (".h5", "")])
def test_wrong_suffix(small: keras.Model, tmp_path: Path, is_now: str, called: str) -> None:
    small.save(tmp_path / f"right{is_now}")
    path = tmp_path / f"wrong{called}"
    shutil.move(tmp_path / f"right{is_now}", path)
    refuse(path, f"content of a {is_now} file", f"Rename it to wrong{is_now}")


def test_other_archives(tmp_path: Path, small: keras.Model) -> None:
    with zipfile.ZipFile(tmp_path / "archive.keras", "w") as archive:
        archive.writestr("readme", "hello")
    refuse(tmp_path / "archive.keras", "not a Keras model")
    small.save_weights(tmp_path / "model.weights.h5")
    refuse(tmp_path / "model.weights.h5", "not a Keras model", "No model config")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_lambda_is_not_run(chain: Callable[..., keras.Model], tmp_path: Path, suffix: str) -> None:
    chain(layers.Lambda(lambda x: x * 2)).save(tmp_path / f"model{suffix}")
    refuse(tmp_path / f"model{suffix}", "`Lambda` layer", "custom layers")


@pytest.mark.parametrize(
    ("kind", "words"), [(Subclassed, "custom layers"), (Registered, "a subclassed model")]
)
def test_subclassed_model(tmp_path: Path, kind: type[keras.Model], words: str) -> None:
    model = kind()
    model(np.zeros((1, 4)))
    model.save(tmp_path / "model.keras")
    refuse(tmp_path / "model.keras", words)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_subclass_with_a_functional_core(small: keras.Model, tmp_path: Path, suffix: str) -> None:
    model = Functional(small.input, small.output)
    model.save(tmp_path / f"model{suffix}")
    loaded = load_model(tmp_path / f"model{suffix}")
    assert not isinstance(loaded, Functional)
    assert_same(model, loaded)


def test_subclass_that_computes_something_else(small: keras.Model, tmp_path: Path) -> None:
    Doubled(small.input, small.output).save(tmp_path / "model.keras")
    refuse(tmp_path / "model.keras", "a subclassed model")


def test_layers_of_applications(tmp_path: Path) -> None:
    model = ARCHITECTURES["ConvNeXtTiny"].small()
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert_same(model, loaded)
    assert find_groups(loaded).kept_whole == ()


def test_plain_operations_in_a_legacy_file(tmp_path: Path) -> None:
    x = keras.Input((4,))
    keras.Model(x, layers.Dense(3)(x) + 3.0).save(tmp_path / "model.h5")
    refuse(tmp_path / "model.h5", "from .keras files only")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_nested_models(small: keras.Model, tmp_path: Path, suffix: str) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(2)(small(image)), name="outer")
    model.save(tmp_path / f"model{suffix}")
    loaded = load_model(tmp_path / f"model{suffix}")
    assert loaded.name == "outer"
    assert not any(isinstance(layer, keras.Model) for layer in loaded.layers)
    assert_same(model, loaded)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_sequential_model_without_input(tmp_path: Path) -> None:
    keras.Sequential([layers.Dense(3)]).save(tmp_path / "model.keras")
    refuse(tmp_path / "model.keras", "Sequential", "keras.Input")


def test_two_inputs_and_two_outputs(tmp_path: Path) -> None:
    a, b = keras.Input((4,)), keras.Input((4,))
    keras.Model([a, b], layers.Add()([a, b])).save(tmp_path / "two.keras")
    refuse(tmp_path / "two.keras", "2 input(s) and 1 output(s)")
    keras.Model(a, [layers.Dense(3)(a), layers.Dense(2)(a)]).save(tmp_path / "out.keras")
    refuse(tmp_path / "out.keras", "1 input(s) and 2 output(s)")


def test_output_that_is_no_classification(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 3))
    keras.Model(x, layers.Conv2D(2, 1)(x)).save(tmp_path / "segments.keras")
    refuse(tmp_path / "segments.keras", "(None, 8, 8, 2)", "classify")


def test_open_input_size(tmp_path: Path) -> None:
    x = keras.Input((None, None, 3))
    keras.Model(x, layers.GlobalAveragePooling2D()(x)).save(tmp_path / "open.keras")
    refuse(tmp_path / "open.keras", "no fixed size", "(None, None, None, 3)")


def test_digest(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
