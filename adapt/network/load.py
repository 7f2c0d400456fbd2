"""A user's network: from a file to a Keras model with its channel groups and kernels."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from adapt.errors import InputError
from adapt.network import shrink
from adapt.network.export import Samples, to_tflite
from adapt.network.graph import gives_logits, last_activation, new_inputs
from adapt.network.groups import ChannelGroups, find_groups
from adapt.network.kernels import KernelTemplate
from adapt.network.nested import core, flat
from adapt.network.shrink import Keep, Weights
from lookup_tables.kernel import Kernel

__all__ = ["Network", "file_digest", "load_model", "load_network"]

_HOW_TO_KERAS = "Load it in Python and save it with `model.save('model.keras')`."
_PYTORCH = (
    "PyTorch networks come to Keras by rebuilding the architecture in Keras and copying the"
    " weights, or through the ONNX format and a converter; save the result as .keras."
)
_TFLITE = (
    "A .tflite file holds no trainable network; give the .keras or .h5 file that it was made from."
)
_SAVED_MODEL = (
    "Keras 3 can run a SavedModel but not train it. In the code that made it, save with"
    " `model.save('model.keras')`; with Keras 2, `model.save('model.h5')`."
)
_PLAIN_OPERATIONS = " Keras reads plain operations, such as `x + 3`, from .keras files only."
_FOREIGN = {
    ".tflite": ("a TensorFlow Lite file", _TFLITE),
    ".pt": ("a PyTorch file", _PYTORCH),
    ".pth": ("a PyTorch file", _PYTORCH),
    ".onnx": ("an ONNX file", "Rebuild it as a Keras model and save that as .keras."),
    ".pb": ("a TensorFlow graph", _SAVED_MODEL),
}

_KERAS_SUFFIXES: tuple[str, ...] = (".keras",)
_LEGACY_SUFFIXES: tuple[str, ...] = (".h5", ".hdf5")
_HDF5 = b"\x89HDF"
_ZIP = b"PK"


class Network:
    """A Keras model together with its channel groups and its kernels at any widths.

    `model` is the unshrunk network; `weights` are its values. Inputs are float32 [N, ...] of
    `input_shape`, outputs [N, classes].
    """

    def __init__(self, model: keras.Model, *, quantized_samples: Samples | None = None) -> None:
        """Follow the channels of a functional `model` and learn its operator list; seconds.

        With `quantized_samples`, kernels are those of the int8 network.
        """
        plain = flat(model)
        self.groups: ChannelGroups = find_groups(plain)
        self.model = shrink.respelled(plain, self.groups)
        self.weights: Weights = shrink.read_weights(self.model)
        self._samples = None if quantized_samples is None else list(quantized_samples)
        self._template = KernelTemplate(self.model, self.groups, self._convert)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(self.model.inputs[0].shape[1:])

    @property
    def is_quantized(self) -> bool:
        """Whether `to_tflite` and `kernels` are of the int8 network."""
        return self._samples is not None

    @property
    def gives_logits(self) -> bool:
        """Whether the outputs are scores to be put through a softmax, not probabilities."""
        return gives_logits(self.model)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each group in the unshrunk network."""
        return self.groups.widths

    def kernels(self, widths: Mapping[str, int]) -> list[Kernel]:
        """What the converter would emit at `widths`, in execution order."""
        return self._template.kernels(widths)

    def counts(self, widths: Mapping[str, int]) -> dict[str, float]:
        """Parameters, bytes of the .tflite file and peak bytes of activations.

        Exact; see `KernelTemplate.model_bytes` for groups with a single filter.
        """
        return {
            "params": self._parameters(widths),
            "size": self._template.model_bytes(widths),
            "memory": self._template.peak_activation_bytes(widths),
        }

    def shrunk(self, keep: Keep, weights: Weights) -> keras.Model:
        """A Keras model with the kept filters; `weights` are those of the shrunk network."""
        widths = {name: len(list(positions)) for name, positions in keep.items()}
        model = shrink.build(self.model, self.groups, widths)
        shrink.write_weights(model, weights)
        return model

    @property
    def weight_bytes(self) -> int:
        """What its weights take in a .tflite file."""
        return int(self.model.count_params()) * (1 if self.is_quantized else 4)

    def to_tflite(self, model: keras.Model) -> bytes:
        """`model`, this network or a shrunk one, as .tflite in the precision asked for."""
        return self._convert(model)

    def _convert(self, model: keras.Model) -> bytes:
        return to_tflite(model, self._samples)

    def _parameters(self, widths: Mapping[str, int]) -> int:
        vector = [widths.get(g.name, g.width) for g in self.groups.groups]
        axes = {
            (u.variable, u.axis): self.groups.size(u.filters).at(vector) for u in self.groups.uses
        }
        return sum(
            int(np.prod([axes.get((place, a), size) for a, size in enumerate(value.shape)]))
            for place, value in self.weights.items()
            if np.issubdtype(value.dtype, np.floating)
        )


def load_network(path: Path, *, quantized_samples: Samples | None = None) -> Network:
    """The network in the file `path`; InputError where it is not one that can be adapted."""
    return Network(load_model(path), quantized_samples=quantized_samples)


def load_model(path: Path) -> keras.Model:
    """The Keras model in `path` as a functional model with one input and one output.

    Raises InputError, with what to do, for a file that is missing, damaged, of another kind, or
    a model that Keras has no graph of. Custom Python code in the file is not run.
    """
    _refuse_foreign(path)
    is_legacy = path.suffix.lower() in _LEGACY_SUFFIXES
    custom = {"DepthwiseConv2D": _LegacyDepthwise} if is_legacy else None
    try:
        model = keras.models.load_model(path, custom, compile=False, safe_mode=True)
    except Exception as error:  # Keras, h5py and zipfile each raise their own kinds.
        raise InputError(
            f"{path} is not a Keras model that can be loaded: {_first_line(error)}",
            "Check that the file is complete; Lambda and custom layers are not loaded from files."
            + (_PLAIN_OPERATIONS if is_legacy else ""),
        ) from error
    return _functional(model, path)


class _LegacyDepthwise(keras.layers.DepthwiseConv2D):  # type: ignore[misc]  # Keras ships no types
    """Reads the settings of an .h5 file by Keras 2, which has a number of groups, always 1."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.DepthwiseConv2D:
        settings = {k: v for k, v in config.items() if (k, v) != ("groups", 1)}
        return keras.layers.DepthwiseConv2D.from_config(settings)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_foreign(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no model file {path}", "Check the path given to --model.")
    if path.is_dir():
        what = "a SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        raise InputError(f"{path} is {what}, not a .keras or .h5 file", _SAVED_MODEL)
    kind, todo = _FOREIGN.get(path.suffix.lower(), ("", ""))
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"TFL3":
        kind, todo = _FOREIGN[".tflite"]
    if kind:
        raise InputError(f"{path} is {kind}, not a .keras or .h5 file", todo)
    if head.startswith(_HDF5):
        right = _LEGACY_SUFFIXES
    elif zipfile.is_zipfile(path):
        right = _KERAS_SUFFIXES
    elif not head or head.startswith(_ZIP):
        raise InputError(f"{path} is not complete", "Copy or save it again.")
    else:
        raise InputError(f"{path} is not a .keras or .h5 file", _HOW_TO_KERAS)
    if path.suffix.lower() not in right:
        raise InputError(
            f"{path} has the content of a {right[0]} file", f"Rename it to {path.stem}{right[0]}."
        )


# Neither probabilities that add up to one nor numbers a softmax makes such of.
_NOT_OF_CLASSES = ("sigmoid", "hard_sigmoid", "sparse_sigmoid", "tanh", "hard_tanh", "softsign")


def _functional(model: Any, path: Path) -> keras.Model:
    functional = core(model)
    if functional is None and isinstance(model, keras.Sequential):
        raise InputError(
            f"{path} holds a Sequential model that does not know the size of its input",
            "Begin it with `keras.Input(shape)` and save it again.",
        )
    if functional is None:
        raise InputError(
            f"{path} holds a subclassed model, of which Keras keeps no graph",
            "Build it with the functional API (keras.Model(inputs, outputs)) and save it again.",
        )
    if len(functional.inputs) != 1 or len(functional.outputs) != 1:
        raise InputError(
            f"{path} has {len(functional.inputs)} input(s) and {len(functional.outputs)} output(s)",
            "Networks with one input and one output can be adapted.",
        )
    if len(functional.outputs[0].shape) != 2:
        raise InputError(
            f"{path} gives an output of shape {tuple(functional.outputs[0].shape)} for its inputs",
            "Networks that classify, with one number for each class, can be adapted.",
        )
    (network_input,) = functional.inputs
    open_axes = [axis for axis, size in enumerate(network_input.shape) if axis and size is None]
    if open_axes:
        raise InputError(
            f"the input of {path} has no fixed size: {tuple(network_input.shape)}",
            "Rebuild it with the input size that it will run with, since that decides its cost.",
        )
    # The name is the file's: one that Keras gives would count the models made before.
    plain = flat(functional)
    plain.name = model.name
    if (activation := last_activation(plain)) in _NOT_OF_CLASSES:
        raise InputError(
            f"the output of {path} goes through {activation}: it tells each class for itself",
            "Networks with a softmax or nothing at the end, one class of several, can be adapted.",
        )
    return plain if network_input.shape[0] is None else _open_batch(plain)


def _open_batch(model: keras.Model) -> keras.Model:
    """`model` without its fixed batch size."""
    copy = keras.models.clone_model(model, new_inputs(model))
    copy.set_weights(model.get_weights())
    return copy


def _first_line(error: BaseException, limit: int = 200) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:limit]
