"""How many values of a network's weights and feature maps are not zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from adapt.errors import InputError
from adapt.tflite.constants import Array
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.quantization import Quantization

__all__ = ["feature_map_densities", "weight_density"]


def weight_density(graph: OperatorGraph, tensor: int) -> float:
    """Share of the constant `tensor` that is not zero; 1 where it holds no values."""
    edge = graph.tensors[tensor]
    if edge.data is None or edge.data.size == 0:
        return 1.0
    zero = edge.quantization.zero_points[0] if edge.quantization else 0
    return float(np.count_nonzero(edge.data != zero) / edge.data.size)


def feature_map_densities(
    content: bytes, graph: OperatorGraph, tensors: Iterable[int], examples: Array
) -> Mapping[int, float]:
    """For each of `tensors`, the share of its values over all `examples` that is not zero.

    `graph` is that of the .tflite file with the bytes `content`; `examples` are float32 [N, ...]
    as the network takes them, N at least 1. InputError where the runtime refuses the file.
    """
    from ai_edge_litert import interpreter as litert

    tensors = sorted(set(tensors))
    try:
        # With operators of its own the runtime keeps every tensor; delegates fuse some away.
        interpreter = litert.Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=(litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
        )
        interpreter.allocate_tensors()
        (place,) = graph.inputs
        nonzero = dict.fromkeys(tensors, 0)
        for example in examples:
            interpreter.set_tensor(place, _stored(example[None], graph, place))
            interpreter.invoke()
            for tensor in tensors:
                values = interpreter.get_tensor(tensor)
                nonzero[tensor] += int(np.count_nonzero(values != _zero(graph, tensor)))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the network cannot be run on the data: {error}") from error
    return {
        tensor: count / (len(examples) * max(1, int(np.prod(graph.tensors[tensor].tensor.shape))))
        for tensor, count in nonzero.items()
    }


def _stored(example: Array, graph: OperatorGraph, tensor: int) -> Array:
    """Real values as the tensor stores them."""
    edge = graph.tensors[tensor]
    if edge.quantization is None:
        return example.astype(edge.tensor.dtype)
    limits = np.iinfo(edge.tensor.dtype)
    scale = edge.quantization.scales[0]
    stored = np.round(example / scale) + edge.quantization.zero_points[0]
    return np.clip(stored, limits.min, limits.max).astype(edge.tensor.dtype)


def _zero(graph: OperatorGraph, tensor: int) -> int:
    quantization: Quantization | None = graph.tensors[tensor].quantization
    return quantization.zero_points[0] if quantization else 0
