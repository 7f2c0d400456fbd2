"""The kernels of a network at any widths, without converting it again.

The converter itself is the model of the converter: `trials.py` converts the unshrunk network and a
few others, and finds the operator list as a function of the widths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from adapt.network.groups import ChannelGroups
from adapt.network.trials import Convert, identify
from adapt.tflite.layout import FileLayout
from adapt.tflite.quantities import tensor_bytes
from lookup_tables.kernel import Kernel

__all__ = ["KernelTemplate"]


class KernelTemplate:
    """The operator list of a network as a function of its widths."""

    def __init__(self, model: keras.Model, groups: ChannelGroups, convert: Convert) -> None:
        """Convert `model` and trial networks of other widths with `convert`; takes seconds.

        Raises InputError where the operator list itself, not only its sizes, depends on widths,
        or a size depends on them in a way that the groups do not predict.
        """
        self._groups = groups
        identified = identify(model, groups, convert)
        self.graph = identified.graph
        self._operands = identified.operands
        self._tensors = identified.tensors()
        self._depends = [
            sorted({g for operand in operands if operand is not None for g in operand.groups})
            for operands in self._operands
        ]
        self._layout = FileLayout(identified.content, [t.tensor for t in self._tensors])
        self._cache: dict[tuple[int, ...], Kernel] = {}

    def kernels(self, widths: Mapping[str, int]) -> list[Kernel]:
        """One kernel for each operator, in execution order, at `widths` (groups left out: full)."""
        vector = self._vector(widths)
        return [self._kernel(number, vector) for number in range(len(self.graph.operators))]

    def model_bytes(self, widths: Mapping[str, int]) -> int:
        """Size of the .tflite file at `widths`.

        Exact while all constants differ, otherwise an upper bound within 2 %: the converter keeps
        equal ones once. Equal are zeros of one length, for convolutions that have neither a bias
        nor a batch normalisation, and often the single values of groups with one filter.
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

    def _kernel(self, number: int, vector: Sequence[int]) -> Kernel:
        key = (number, *(vector[g] for g in self._depends[number]))
        kernel = self._cache.get(key)
        if kernel is None:
            node = self.graph.operators[number]
            operands = [None if o is None else o.at(vector) for o in self._operands[number]]
            kernel = self._cache[key] = Kernel(
                node.kernel.op,
                tuple(operands[: len(node.inputs)]),
                tuple(o for o in operands[len(node.inputs) :] if o is not None),
                node.kernel.options,
            )
        return kernel
