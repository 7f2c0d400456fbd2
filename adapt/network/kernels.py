"""The kernels of a network at any widths, without converting it again.

The converter itself is the model of the converter: the unshrunk network is converted once, and
once or twice more with its widths changed. Every size in the operator list that changed must be
one of the sums of widths that the channel groups predict for some tensor; the conversions tell
which. What results is the operator list as a function of the widths.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from adapt.errors import InputError
from adapt.network.groups import ChannelGroups, Size
from adapt.network.shrink import build
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.layout import FileLayout
from adapt.tflite.quantities import tensor_bytes
from adapt.tflite.reader import read_model
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["KernelTemplate"]

# Widths of the trial conversions are the originals plus numbers from 1 to this, so that sums of
# different groups hardly ever agree; small, so that the trial networks stay small.
_MAX_GROWTH = 97
# Two conversions tell sums apart unless a network has been unlucky; then more are made.
_MAX_TRIALS = 5

Convert = Callable[[keras.Model], bytes]


@dataclass(frozen=True)
class _SymbolicTensor:
    """A tensor whose shape, and values where it has any, may depend on widths."""

    tensor: Tensor
    shape: tuple[Size, ...]
    values: tuple[Size, ...] | None

    def at(self, widths: Sequence[int]) -> Tensor:
        shape = tuple(size.at(widths) for size in self.shape)
        axis = self.tensor.quantized_axis
        return replace(
            self.tensor,
            shape=shape,
            # A single channel has a single scale, which the file does not tell from none.
            quantized_axis=None if axis is None or shape[axis] == 1 else axis,
            values=None if self.values is None else tuple(v.at(widths) for v in self.values),
        )


class KernelTemplate:
    """The operator list of a network as a function of its widths."""

    def __init__(self, model: keras.Model, groups: ChannelGroups, convert: Convert) -> None:
        """Convert `model` and trial networks of other widths with `convert`; takes seconds.

        Raises InputError where the operator list itself, not only its sizes, depends on widths,
        or a size depends on them in a way that the groups do not predict.
        """
        self._groups = groups
        content = convert(_stand_in(model, groups, {}))
        self.graph = read_model(content)
        trials = _trials(model, groups, convert, self.graph)
        symbols = _identify(self.graph, trials, groups)
        self._tensors = [
            _SymbolicTensor(edge.tensor, *symbol)
            for edge, symbol in zip(self.graph.tensors, symbols, strict=True)
        ]
        self._depends = [
            sorted({g for s in self._sizes_of(node) for g in s.groups})
            for node in range(len(self.graph.operators))
        ]
        self._layout = FileLayout(content, [edge.tensor for edge in self.graph.tensors])
        self._cache: dict[tuple[int, ...], Kernel] = {}

    def kernels(self, widths: Mapping[str, int]) -> list[Kernel]:
        """One kernel for each operator, in execution order, at `widths` (groups left out: full)."""
        vector = self._vector(widths)
        return [self._kernel(number, vector) for number in range(len(self.graph.operators))]

    def model_bytes(self, widths: Mapping[str, int]) -> int:
        """Size of the .tflite file at `widths`.

        Exact while every group keeps two filters, an upper bound within 2 % with fewer: constants
        of a single value are then often equal, and the converter stores equal ones once.
        """
        vector = self._vector(widths)
        return self._layout.size([tensor.at(vector) for tensor in self._tensors])

    def peak_activation_bytes(self, widths: Mapping[str, int]) -> int:
        """Most bytes of activations alive at once: inputs, outputs and what later operators need.

        The bound that any memory planner has to respect while operators run in the file's order.
        """
        vector = self._vector(widths)
        sizes = [0 if t.tensor.constant else tensor_bytes(t.at(vector)) for t in self._tensors]
        last = dict.fromkeys(self.graph.inputs, 0)
        for number, node in enumerate(self.graph.operators):
            last.update(dict.fromkeys((*node.inputs, *node.outputs), number))
        last.update(dict.fromkeys(self.graph.outputs, len(self.graph.operators)))
        alive = set(self.graph.inputs)
        peak = 0
        for number, node in enumerate(self.graph.operators):
            alive.update(node.outputs)
            peak = max(peak, sum(sizes[t] for t in alive))
            alive = {t for t in alive if last[t] > number}
        return peak

    def _vector(self, widths: Mapping[str, int]) -> list[int]:
        return [widths.get(g.name, g.width) for g in self._groups.groups]

    def _sizes_of(self, node: int) -> Iterator[Size]:
        operator = self.graph.operators[node]
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0:
                yield from self._tensors[index].shape
                yield from self._tensors[index].values or ()

    def _kernel(self, number: int, vector: Sequence[int]) -> Kernel:
        key = (number, *(vector[g] for g in self._depends[number]))
        kernel = self._cache.get(key)
        if kernel is None:
            operator = self.graph.operators[number]
            kernel = self._cache[key] = Kernel(
                operator.kernel.op,
                tuple(None if i < 0 else self._tensors[i].at(vector) for i in operator.inputs),
                tuple(self._tensors[i].at(vector) for i in operator.outputs),
                operator.kernel.options,
            )
        return kernel


@dataclass(frozen=True)
class _Trial:
    widths: list[int]
    graph: OperatorGraph


def _trials(
    model: keras.Model, groups: ChannelGroups, convert: Convert, original: OperatorGraph
) -> Iterator[_Trial]:
    """Conversions of the network at other widths; as many as the caller asks for."""
    random = np.random.default_rng(0)
    for _ in range(_MAX_TRIALS if groups.groups else 0):
        grown = {g.name: g.width + int(random.integers(1, _MAX_GROWTH)) for g in groups.groups}
        graph = read_model(convert(_stand_in(model, groups, grown)))
        if _structure(graph) != _structure(original):
            raise InputError(
                f"the operators that {model.name} converts to depend on its widths",
                "Their cost cannot be predicted. Please report the network's architecture.",
            )
        yield _Trial([grown[g.name] for g in groups.groups], graph)


def _stand_in(model: keras.Model, groups: ChannelGroups, widths: Mapping[str, int]) -> keras.Model:
    """A network like `model` at `widths` with random weights.

    The converter merges equal constants, such as the zero biases of new layers; in a trained
    network none are equal, and here neither. Each kernel's values sum up to about 1, so that
    activations neither vanish nor overflow and 8-bit biases stay distinct.
    """
    network = build(model, groups, widths)
    random = np.random.default_rng(0)
    for variable in network.variables:
        if np.issubdtype(np.dtype(variable.dtype), np.floating):
            summed = max(1, int(np.prod(variable.shape[:-1])))
            variable.assign(random.uniform(0.1, 1.0, variable.shape) / summed)
    return network


def _structure(graph: OperatorGraph) -> list[object]:
    """Everything about an operator list but the sizes."""
    return [
        (node.kernel.op, node.kernel.options, node.inputs, node.outputs) for node in graph.operators
    ] + [
        (t.tensor.dtype, t.tensor.constant, len(t.tensor.shape), t.tensor.quantized_axis)
        for t in graph.tensors
    ]


def _sizes(graph: OperatorGraph) -> list[tuple[tuple[int, ...], tuple[int, ...] | None]]:
    return [(edge.tensor.shape, edge.tensor.values) for edge in graph.tensors]


def _identify(
    graph: OperatorGraph, trials: Iterator[_Trial], groups: ChannelGroups
) -> list[tuple[tuple[Size, ...], tuple[Size, ...] | None]]:
    """For each tensor, its shape and values as sizes: constant, or a sum of widths."""
    observed = [list(itertools.chain(*(s + (v or ()) for s, v in _sizes(graph))))]
    vectors: list[Sequence[int]] = [[group.width for group in groups.groups]]
    candidates = groups.channel_sizes()
    for trial in trials:
        observed.append(list(itertools.chain(*(s + (v or ()) for s, v in _sizes(trial.graph)))))
        vectors.append(trial.widths)
        found = [_fitting(values, vectors, candidates) for values in zip(*observed, strict=True)]
        if all(len(fits) == 1 for fits in found):
            break
    else:
        if not groups.groups:
            found = [[Size(value)] for value in observed[0]]
        _refuse_unknown(found)
    sizes = iter(fits[0] for fits in found)
    return [
        (
            tuple(itertools.islice(sizes, len(shape))),
            None if values is None else tuple(itertools.islice(sizes, len(values))),
        )
        for shape, values in _sizes(graph)
    ]


def _fitting(
    values: Sequence[int], vectors: Sequence[Sequence[int]], candidates: Sequence[Size]
) -> list[Size]:
    if all(value == values[0] for value in values):
        return [Size(values[0])]
    return [
        size
        for size in candidates
        if all(size.at(w) == v for w, v in zip(vectors, values, strict=True))
    ]


def _refuse_unknown(found: Sequence[Sequence[Size]]) -> None:
    if any(not fits for fits in found):
        raise InputError(
            "an operator's size depends on the widths in a way that the channel groups do not say",
            "Its cost cannot be predicted. Please report the network's architecture.",
        )
