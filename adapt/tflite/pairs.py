"""Two neighbouring kernels of a network, and the TensorFlow Lite file of both together.

A runtime may do with two operators what it does with none of them alone: leave out a padding that
the next convolution can do, or look up a whole chain of functions in one table. What it does shows
in the time of the pair beside the times of its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from adapt.tflite.constants import random_constant
from adapt.tflite.flatbuffer import Assembly
from adapt.tflite.ops import operator
from adapt.tflite.quantization import Quantization, complete_quantization
from adapt.tflite.writer import check_kernel, make_options
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["Pair", "pairs_of", "write_pair"]

# Where an operand of the second kernel comes from.
_RESULT, _SAME, _OTHER = "result", "same", "other"


@dataclass(frozen=True)
class Pair:
    """A kernel and the next one, which reads its result.

    Attributes:
        sources: of each operand of `second` that is no constant: the `result` of `first`, the
            `same` tensor that `first` reads, or some `other`.
    """

    first: Kernel
    second: Kernel
    sources: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What pairs of equal behaviour have in common: operators, activations, type, wiring."""
        names = (_name(self.first), _name(self.second))
        return f"{'>'.join(names)}({','.join(self.sources)}) {self.first.dtype}"


def pairs_of(kernels: Sequence[Kernel]) -> list[Pair | None]:
    """For each kernel but the last, the pair that it makes with the next, if it makes one.

    `kernels` stand in the order in which they run. What feeds what is concluded from shapes and
    types alone: a kernel is taken to read the result of the one before it where it reads a tensor
    of that kind, and to read the input of the one before where it reads another of that one's.
    """
    return [_pair(first, second) for first, second in pairwise(kernels)]


def write_pair(pair: Pair, seed: int = 0) -> bytes:
    """The .tflite file of both kernels, wired as `pair.sources` says; raises as `write_kernel`."""
    assembly = Assembly()
    first, second = pair.first, pair.second
    check_kernel(first)
    check_kernel(second)
    entry = operator(first.op)
    scales = complete_quantization(first, entry, None)
    indices = [
        -1 if tensor is None else _add(assembly, first, position, tensor, scales, seed)
        for position, tensor in enumerate((*first.inputs, *first.outputs))
    ]
    inputs, outputs = indices[: len(first.inputs)], indices[len(first.inputs) :]
    assembly.add_operator(entry, make_options(first, entry), inputs, outputs)
    data = next((p for p, tensor in enumerate(first.inputs) if _is_data(tensor)), None)
    known = {_RESULT: (outputs[0], len(first.inputs))}
    if data is not None:
        known[_SAME] = (inputs[data], data)
    sources = iter(pair.sources)
    wired = {
        position: known[source]
        for position, tensor in enumerate(second.inputs)
        if _is_data(tensor) and (source := next(sources)) in known
    }
    entry = operator(second.op)
    given = {position: scales[at] for position, (_, at) in wired.items() if at in scales}
    scales = complete_quantization(second, entry, given)
    indices = []
    for position, tensor in enumerate((*second.inputs, *second.outputs)):
        if position in wired:
            indices.append(wired[position][0])
        elif tensor is None:
            indices.append(-1)
        else:
            indices.append(_add(assembly, second, position, tensor, scales, seed))
    inputs, outputs = indices[: len(second.inputs)], indices[len(second.inputs) :]
    assembly.add_operator(entry, make_options(second, entry), inputs, outputs)
    return assembly.finish(outputs)


def _add(
    assembly: Assembly,
    kernel: Kernel,
    position: int,
    tensor: Tensor,
    scales: Mapping[int, Quantization],
    seed: int,
) -> int:
    data = None
    if tensor.constant and position < len(kernel.inputs):
        data = random_constant(tensor, operator(kernel.op), position, seed)
    return assembly.add_tensor(f"{kernel.key}.{position}", tensor, scales.get(position), data)


def _pair(first: Kernel, second: Kernel) -> Pair | None:
    if len(first.outputs) != 1:
        return None
    result = first.outputs[0]
    data = [tensor for tensor in second.inputs if tensor is not None and not tensor.constant]
    matching = [at for at, tensor in enumerate(data) if tensor == result]
    if not matching:
        return None
    same = next((tensor for tensor in first.inputs if _is_data(tensor)), None)
    sources = [_SAME if tensor == same else _OTHER for tensor in data]
    # Of two operands of a kind the later is the result: x * f(x), rather than f(x) * x.
    sources[matching[-1]] = _RESULT
    return Pair(first, second, tuple(sources))


def _is_data(tensor: Tensor | None) -> bool:
    return tensor is not None and not tensor.constant


def _name(kernel: Kernel) -> str:
    activation = dict(kernel.options).get("fused_activation_function", "NONE")
    return kernel.op if activation == "NONE" else f"{kernel.op}+{activation}"
