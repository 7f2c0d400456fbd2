"""Trial conversions: which sum of widths each size in an operator list is.

The unshrunk network is converted once, and once or twice more with its widths changed. Every size
that changed must be one of the sums of widths that the channel groups predict for some tensor; the
conversions tell which.

Sizes belong to the operands of operators rather than to tensors: the converter keeps equal
constants once, such as zeros for two convolutions without bias, and which ones are of equal size
depends on the widths.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from adapt.errors import InputError
from adapt.network.groups import ChannelGroups, Size
from adapt.network.shrink import build
from adapt.tflite.graph import ABSENT, Node, OperatorGraph
from adapt.tflite.reader import read_model
from lookup_tables.kernel import Tensor

__all__ = ["Convert", "Identified", "SymbolicTensor", "identify"]

# Widths of the trial conversions are the originals plus numbers from 1 to this, so that sums of
# different groups hardly ever agree; small, so that the trial networks stay small.
_MAX_GROWTH = 97
# Two conversions tell sums apart unless a network has been unlucky; then more are made.
_MAX_TRIALS = 5

Convert = Callable[[keras.Model], bytes]


@dataclass(frozen=True)
class SymbolicTensor:
    """A tensor whose shape, and values where it has any, may depend on widths."""

    tensor: Tensor
    shape: tuple[Size, ...]
    values: tuple[Size, ...] | None

    def at(self, widths: Sequence[int]) -> Tensor:
        """The tensor where group i has `widths[i]`."""
        shape = tuple(size.at(widths) for size in self.shape)
        axis = self.tensor.quantized_axis
        return replace(
            self.tensor,
            shape=shape,
            # A single channel has a single scale, which the file does not tell from none.
            quantized_axis=None if axis is None or shape[axis] == 1 else axis,
            values=None if self.values is None else tuple(v.at(widths) for v in self.values),
        )

    @property
    def groups(self) -> Iterator[int]:
        """Indices of the groups that the tensor depends on."""
        for size in (*self.shape, *(self.values or ())):
            yield from size.groups


@dataclass(frozen=True)
class Identified:
    """An operator list as a function of the widths.

    `content` is the file of the conversion that keeps most constants apart, `graph` its operators,
    `operands` the inputs and then the outputs of each operator, None where one is absent.
    """

    content: bytes
    graph: OperatorGraph
    operands: tuple[tuple[SymbolicTensor | None, ...], ...]

    def tensors(self) -> list[SymbolicTensor]:
        """The tensors of `graph`, in its order."""
        of_index = {
            index: operand
            for node, operands in zip(self.graph.operators, self.operands, strict=True)
            for index, operand in zip((*node.inputs, *node.outputs), operands, strict=True)
        }
        return [
            of_index.get(index) or _constant(edge.tensor)
            for index, edge in enumerate(self.graph.tensors)
        ]


@dataclass(frozen=True)
class _Trial:
    widths: list[int]
    content: bytes
    graph: OperatorGraph


def identify(model: keras.Model, groups: ChannelGroups, convert: Convert) -> Identified:
    """Convert `model` and trial networks of other widths with `convert`; takes seconds.

    Raises InputError where the operator list itself, not only its sizes, depends on widths, or a
    size depends on them in a way that the groups do not predict.
    """
    trials: list[_Trial] = []
    candidates = groups.channel_sizes()
    for trial in _trials(model, groups, convert):
        trials.append(trial)
        if len(trials) > 1 or not groups.groups:
            found = _fits(trials, candidates)
            if all(len(fits) == 1 for fits in found):
                break
    if any(not fits for fits in found):
        raise InputError(
            "an operator's size depends on the widths in a way that the channel groups do not say",
            "Its cost cannot be predicted. Please report the network's architecture.",
        )
    # The first of those with the most: the unshrunk network, unless it has equal constants.
    base = max(trials, key=lambda trial: len(trial.graph.tensors))
    sizes = iter(fits[0] for fits in found)
    operands = tuple(
        tuple(
            None if tensor is None else _symbolic(tensor, sizes)
            for tensor in _operands(base.graph, node)
        )
        for node in base.graph.operators
    )
    return Identified(base.content, base.graph, operands)


def _symbolic(tensor: Tensor, sizes: Iterator[Size]) -> SymbolicTensor:
    shape = tuple(itertools.islice(sizes, len(tensor.shape)))
    values = None if tensor.values is None else tuple(itertools.islice(sizes, len(tensor.values)))
    return SymbolicTensor(tensor, shape, values)


def _constant(tensor: Tensor) -> SymbolicTensor:
    values = None if tensor.values is None else tuple(Size(v) for v in tensor.values)
    return SymbolicTensor(tensor, tuple(Size(size) for size in tensor.shape), values)


def _trials(model: keras.Model, groups: ChannelGroups, convert: Convert) -> Iterator[_Trial]:
    """The conversion of the network itself, then at other widths; as many as the caller asks."""
    random = np.random.default_rng(0)
    structure: list[object] = []
    for number in range(1 + (_MAX_TRIALS if groups.groups else 0)):
        widths = groups.widths
        if number:
            # What has one filter has no other width, and may have other operators with more.
            widths = {
                name: width + int(random.integers(1, _MAX_GROWTH)) if width > 1 else 1
                for name, width in widths.items()
            }
        content = convert(_stand_in(model, groups, widths))
        graph = read_model(content)
        structure = structure or _structure(graph)
        if _structure(graph) != structure:
            raise InputError(
                f"the operators that {model.name} converts to depend on its widths",
                "Their cost cannot be predicted. Please report the network's architecture.",
            )
        yield _Trial(list(widths.values()), content, graph)


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


def _operands(graph: OperatorGraph, node: Node) -> list[Tensor | None]:
    indices = (*node.inputs, *node.outputs)
    return [None if i == ABSENT else graph.tensors[i].tensor for i in indices]


def _structure(graph: OperatorGraph) -> list[object]:
    """Everything about an operator list but the sizes, and which constants it keeps once."""
    activations: dict[int, int] = defaultdict(itertools.count().__next__)
    found: list[object] = []
    for node in graph.operators:
        found.append((node.kernel.op, node.kernel.options))
        indices = (*node.inputs, *node.outputs)
        for index, tensor in zip(indices, _operands(graph, node), strict=True):
            if tensor is not None:
                place = None if tensor.constant else activations[index]
                values = None if tensor.values is None else len(tensor.values)
                rank = len(tensor.shape)
                found.append((place, tensor.dtype, rank, values, tensor.quantized_axis))
    return found


def _sizes(graph: OperatorGraph) -> Iterator[int]:
    for node in graph.operators:
        for tensor in _operands(graph, node):
            if tensor is not None:
                yield from tensor.shape
                yield from tensor.values or ()


def _fits(trials: Sequence[_Trial], candidates: Sequence[Size]) -> list[list[Size]]:
    """For each size, what it may be: constant, or sums of widths that agree with all trials."""
    agreeing: dict[tuple[int, ...], list[Size]] = defaultdict(list)
    for size in candidates:
        agreeing[tuple(size.at(trial.widths) for trial in trials)].append(size)
    observed = zip(*(_sizes(trial.graph) for trial in trials), strict=True)
    return [
        [Size(values[0])] if len(set(values)) == 1 else agreeing.get(values, [])
        for values in observed
    ]
