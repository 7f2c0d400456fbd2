"""Many copies of a kernel in one TensorFlow Lite file, each with weights of its own.

A kernel that runs alone in a loop finds its weights in the cache; in a network whose weights exceed
the cache it does not. One run of this model touches `copies` times the kernel's weights.
"""

from __future__ import annotations

import numpy as np

from adapt.errors import InputError
from adapt.tflite.constants import Array, random_constant
from adapt.tflite.flatbuffer import Assembly
from adapt.tflite.ops import make_kernel, operator
from adapt.tflite.quantization import Quantization, complete_quantization
from adapt.tflite.writer import check_kernel, make_options
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["slice_kernel", "write_copies"]

# Elements of the tensor that `slice_kernel` reads: any number, since only one is copied.
_SLICED_ELEMENTS = 16


def slice_kernel(dtype: str) -> Kernel:
    """The SLICE that follows each copy, on a small tensor: what a copy costs beside the kernel."""
    return _slice_of(Tensor(dtype, (1, _SLICED_ELEMENTS)))


def write_copies(kernel: Kernel, copies: int, seed: int = 0) -> bytes:
    """The .tflite file of so many copies of `kernel`, all reading the same inputs.

    Each output goes through a SLICE of one element, which is an output of the model: the runtime
    must compute every copy, and can use its memory for the next. Operators: a copy, its slices,
    the next copy, its slices, and so on. Constants that steer the operator are shared.

    Raises InputError as `write_kernel` does, and for a kernel with an output without axes.
    """
    if copies < 1:
        raise ValueError(f"{copies} copies")
    check_kernel(kernel)
    if not all(tensor.shape for tensor in kernel.outputs):
        raise InputError(f"{kernel.op}: an output without axes cannot be sliced")
    return _Copier(kernel, seed).write(copies)


def _slice_of(tensor: Tensor) -> Kernel:
    rank = len(tensor.shape)
    begin = Tensor("int32", (rank,), constant=True, values=(0,) * rank)
    size = Tensor("int32", (rank,), constant=True, values=(1,) * rank)
    return make_kernel("SLICE", [tensor, begin, size], [Tensor(tensor.dtype, (1,) * rank)])


class _Copier:
    """Writes copies of one kernel."""

    def __init__(self, kernel: Kernel, seed: int) -> None:
        self._kernel = kernel
        self._entry = operator(kernel.op)
        self._options = make_options(kernel, self._entry)
        self._scales = complete_quantization(kernel, self._entry, None)
        self._constants = {
            position: random_constant(tensor, self._entry, position, seed)
            for position, tensor in enumerate(kernel.inputs)
            if tensor is not None and tensor.constant
        }
        self._assembly = Assembly()

    def write(self, copies: int) -> bytes:
        shared = {
            position: self._add_input(position, tensor, "shared")
            for position, tensor in enumerate(self._kernel.inputs)
            if not _is_weights(tensor)
        }
        fetched: list[int] = []
        for copy in range(copies):
            inputs = [
                self._add_input(position, tensor, f"copy{copy}", roll=copy)
                if _is_weights(tensor)
                else shared[position]
                for position, tensor in enumerate(self._kernel.inputs)
            ]
            outputs = [
                self._assembly.add_tensor(f"copy{copy}.out{n}", tensor, self._output_scales(n))
                for n, tensor in enumerate(self._kernel.outputs)
            ]
            self._assembly.add_operator(self._entry, self._options, inputs, outputs)
            fetched += [self._fetch(copy, n, index) for n, index in enumerate(outputs)]
        return self._assembly.finish(fetched)

    def _add_input(self, position: int, tensor: Tensor | None, name: str, roll: int = 0) -> int:
        if tensor is None:
            return -1
        data: Array | None = self._constants.get(position)
        if data is not None and roll:
            # A runtime that recognises equal constants would keep one of them.
            data = np.roll(data.reshape(-1), roll).reshape(data.shape)
        return self._assembly.add_tensor(
            f"{name}.in{position}", tensor, self._scales.get(position), data
        )

    def _output_scales(self, number: int) -> Quantization | None:
        return self._scales.get(len(self._kernel.inputs) + number)

    def _fetch(self, copy: int, number: int, source: int) -> int:
        """Add the slice of one output; return the index of its element."""
        kernel = _slice_of(self._kernel.outputs[number])
        entry = operator(kernel.op)
        steering = [
            self._assembly.add_tensor(
                f"copy{copy}.slice{number}.{position}",
                tensor,
                None,
                random_constant(tensor, entry, position, 0),
            )
            for position, tensor in enumerate(kernel.inputs)
            if tensor is not None and tensor.constant
        ]
        element = self._assembly.add_tensor(
            f"copy{copy}.element{number}", kernel.outputs[0], self._output_scales(number)
        )
        self._assembly.add_operator(
            entry, make_options(kernel, entry), [source, *steering], [element]
        )
        return element


def _is_weights(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.constant and tensor.values is None
