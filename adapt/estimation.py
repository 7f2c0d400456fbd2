"""Networks of any source as layers of the Eyeriss model, with what is known of their zeros.

No device is asked, and TensorFlow is imported for Keras files alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapt.cost.eyeriss import Layer, Operand
from adapt.cost.eyeriss.kernels import is_counted, is_uncounted_work, kernel_layer
from adapt.cost.eyeriss.layer import DATA
from adapt.cost.eyeriss.shape_lists import built_in_lists, read_built_in, read_shape_list
from adapt.errors import InputError, UsageError
from adapt.prediction import read_file
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.zeros import feature_map_densities, weight_density

__all__ = ["DataChoice", "Subject", "read_subject", "with_bits", "with_densities"]

_KERAS = (".keras", ".h5", ".hdf5")
_LISTS = (".csv", ".txt")
_TFLITE = ".tflite"

# Names of layers in files may be long paths; their ends tell more.
_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class DataChoice:
    """The examples that zeros of feature maps are counted on, the first `examples` of a test set.

    `source`, `pixel_range` and `resize` are as in `adapt.training.data`.
    """

    source: str
    examples: int = 64
    pixel_range: tuple[float, float] = (0.0, 255.0)
    resize: bool = False


@dataclass(frozen=True)
class Subject:
    """A network to be estimated.

    Attributes:
        name: as the user knows it.
        layers: what the accelerator computes.
        batch: images that its source was made for.
        uncounted: operators that multiply and add, and are no layers of the model, by name.
    """

    name: str
    layers: tuple[Layer, ...]
    batch: int = 1
    uncounted: Mapping[str, int] | None = None


def read_subject(what: str, data: DataChoice | None = None) -> Subject:
    """The network called `what`, or in the file of that name.

    Raises:
        UsageError: there is neither, or `data` is given for a list of shapes.
        InputError: the file is not sound, or has no layers that the model knows.
    """
    path = Path(what)
    suffix = path.suffix.lower()
    if what in built_in_lists() or suffix in _LISTS:
        if data is not None:
            raise UsageError(
                f"--data cannot be run through {what}, a list of shapes",
                "Give a .keras, .h5 or .tflite file, or the zeros in the list itself.",
            )
        return _listed(what, path)
    if suffix == _TFLITE:
        content, graph = read_file(path)
    elif suffix in _KERAS:
        content, graph = _converted(path)
    else:
        names = ", ".join(built_in_lists())
        raise UsageError(
            f"no network {what!r}", f"Give a .keras, .h5, .tflite or .csv file, or one of {names}."
        )
    return _subject(what, content, graph, data)


def with_bits(layers: Sequence[Layer], bits: Mapping[str, float]) -> tuple[Layer, ...]:
    """The layers with the bits of each data type that `bits` names."""
    return tuple(_with(layer, {data: {"bits": bits[data]} for data in bits}) for layer in layers)


def with_densities(layers: Sequence[Layer], densities: Mapping[str, float]) -> tuple[Layer, ...]:
    """The layers with the densities that `densities` names; the picture stays as it is."""
    return tuple(
        _with(
            layer,
            {
                data: {"density": density}
                for data, density in densities.items()
                if number or data != "ifmap"
            },
        )
        for number, layer in enumerate(layers)
    )


def _with(layer: Layer, changes: Mapping[str, dict[str, float]]) -> Layer:
    operands: dict[str, Any] = {
        data: replace(getattr(layer, data), **change) for data, change in changes.items()
    }
    return replace(layer, **operands)


def _listed(what: str, path: Path) -> Subject:
    if what in built_in_lists():
        found = read_built_in(what)
    elif path.is_file():
        found = read_shape_list(path)
    else:
        raise InputError(f"there is no file {path}", "Give a list of shapes.")
    return Subject(what, found.layers, found.batch)


def _converted(path: Path) -> tuple[bytes, OperatorGraph]:
    """A Keras file as the converter would write it."""
    from adapt.telemetry import import_tensorflow, stdout_on_stderr

    with stdout_on_stderr():
        import_tensorflow()
        from adapt.network.export import to_tflite
        from adapt.network.load import load_model

        content = to_tflite(load_model(path))
    from adapt.tflite.reader import read_model

    return content, read_model(content)


def _subject(what: str, content: bytes, graph: OperatorGraph, data: DataChoice | None) -> Subject:
    counted = [node for node in graph.operators if node.supported and is_counted(node.kernel)]
    if not counted:
        raise InputError(
            f"{what} has no convolution and no dense layer", "The model counts nothing else."
        )
    maps = {tensor for node in counted for tensor in (node.inputs[0], node.outputs[0])}
    densities = {} if data is None else _measured(content, graph, maps, data)
    layers = []
    for node in counted:
        layer = kernel_layer(node.kernel, _layer_name(graph.tensors[node.outputs[0]].name))
        weights = weight_density(graph, node.inputs[1])
        found = (densities.get(node.inputs[0], 1.0), densities.get(node.outputs[0], 1.0), weights)
        operands: dict[str, Operand] = {
            name: replace(getattr(layer, name), density=density)
            for name, density in zip(DATA, found, strict=True)
        }
        layers.append(replace(layer, **operands))  # type: ignore[arg-type]
    uncounted: dict[str, int] = {}
    for node in graph.operators:
        if node.kernel.op not in uncounted and node.supported and is_uncounted_work(node.kernel):
            uncounted[node.kernel.op] = 0
        if node.kernel.op in uncounted:
            uncounted[node.kernel.op] += 1
    return Subject(what, tuple(layers), uncounted=uncounted)


def _layer_name(tensor: str) -> str:
    """The converter joins the names of what it fused; the first is that of the layer."""
    parts = [part for part in tensor.split(";")[0].split("/") if part]
    name = "/".join(parts[-3:-1]) or tensor
    return name[-_NAME_CHARACTERS:]


def _measured(
    content: bytes, graph: OperatorGraph, tensors: set[int], data: DataChoice
) -> Mapping[int, float]:
    from adapt.training.data import DataOptions, load_data

    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise InputError(
            f"the network has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs",
            "--data needs one of each.",
        )
    shape = graph.tensors[graph.inputs[0]].tensor.shape[1:]
    outputs = graph.tensors[graph.outputs[0]].tensor.shape[-1]
    options = DataOptions(pixel_range=data.pixel_range, resize=data.resize)
    loaded = load_data(data.source, tuple(shape), outputs, options)
    examples = loaded.prepared(loaded.test.inputs[: data.examples])
    return feature_map_densities(content, graph, tensors, examples)
