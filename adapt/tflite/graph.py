"""The operators of a model, and the tensors that connect them."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapt.tflite.constants import Array
from adapt.tflite.quantization import Quantization
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["ABSENT", "Edge", "Node", "OperatorGraph"]

# Tensor index of an optional input that is left out.
ABSENT = -1


@dataclass(frozen=True, slots=True)
class Edge:
    """One tensor of the graph.

    `nbytes` is what its elements take in memory, or, for a constant, in the file. `plain` says
    that `tensor` tells all: False with sparse contents, block-wise quantisation, or an element
    type that kernels do not have.
    """

    name: str
    tensor: Tensor
    nbytes: int
    plain: bool = True
    is_variable: bool = False
    quantization: Quantization | None = None
    data: Array | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: its kernel, and the indices of its operands in `OperatorGraph.tensors`.

    Where `supported` is False the operator is not in the table or has operands that are not
    plain: the kernel has no options, and cannot be written.
    """

    kernel: Kernel
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    supported: bool


@dataclass(frozen=True, slots=True)
class OperatorGraph:
    """The main graph of a model; `operators` stand in the order in which they run."""

    tensors: tuple[Edge, ...]
    operators: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def constants(self, node: Node) -> dict[int, Array]:
        """Contents of the constant inputs of an operator, by position among its inputs."""
        edges = ((i, self.tensors[t]) for i, t in enumerate(node.inputs) if t != ABSENT)
        return {
            i: edge.data.reshape(edge.tensor.shape) for i, edge in edges if edge.data is not None
        }

    def constant_bytes(self, node: Node) -> int:
        """Bytes of the constants of an operator, whatever their type."""
        edges = (self.tensors[t] for t in node.inputs if t != ABSENT)
        return sum(edge.nbytes for edge in edges if edge.tensor.constant)

    def quantization(self, node: Node) -> dict[int, Quantization]:
        """Quantisation of an operator's operands, by position: inputs first, then outputs."""
        edges = (
            (i, self.tensors[t]) for i, t in enumerate((*node.inputs, *node.outputs)) if t != ABSENT
        )
        return {i: edge.quantization for i, edge in edges if edge.quantization is not None}
