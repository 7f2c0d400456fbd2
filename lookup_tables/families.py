"""Kernels that differ in their channel counts alone: what interpolation runs along.

A network that is narrowed asks for the same operators over and over, each time with other numbers
of channels. Such kernels are a family, and the numbers are the coordinates of its members; the
sizes of weights, biases and flattened tensors follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lookup_tables.kernel import Kernel, Tensor

__all__ = ["Axis", "Family", "Member", "member", "resized"]

# A family is named by its member with so many channels on each axis: not one, since a quantised
# tensor with a single channel has a single scale, which is another kind of kernel.
_NOMINAL = 2


@dataclass(frozen=True, order=True)
class Axis:
    """Which channels of which kind of kernel: what a staircase is learnt for.

    Attributes:
        op, dtype: of the kernel.
        window: height and width of the filter, "3x3"; empty where the operator has none.
        name: "in" or "out", "channels" where both are the same, "first" ... of what is joined.
    """

    op: str
    dtype: str
    window: str
    name: str

    def __str__(self) -> str:
        return ".".join(part for part in (self.op, self.dtype, self.window, self.name) if part)


@dataclass(frozen=True)
class Family:
    """All kernels that are equal but for their channel counts.

    `text` is the canonical form of one of them; `axes` are the coordinates, in order.
    """

    text: str
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class Member:
    """A kernel by its family and its channel counts, each 1 or more, one for each axis."""

    family: Family
    channels: tuple[int, ...]


@dataclass(frozen=True)
class _Layout:
    """Where the channel counts of one kernel stand. Tensors count inputs first, then outputs.

    Attributes:
        names: of the axes.
        channels: what they are now.
        sizes: dimensions that depend on them, as (tensor, dimension): how often each axis counts.
        echoes: tensors whose last value is the last dimension of the output.
    """

    names: tuple[str, ...]
    channels: tuple[int, ...]
    sizes: Mapping[tuple[int, int], tuple[int, ...]]
    echoes: tuple[int, ...] = field(default=())


def member(kernel: Kernel) -> Member | None:
    """The family of `kernel` and its place in it; None where its channels are not understood."""
    layout = _layout(kernel)
    if layout is None:
        return None
    window = _window(kernel)
    axes = tuple(Axis(kernel.op, kernel.dtype, window, name) for name in layout.names)
    nominal = _resized(kernel, layout, [_NOMINAL] * len(axes))
    return Member(Family(nominal.text, axes), layout.channels)


def resized(kernel: Kernel, channels: Sequence[int]) -> Kernel:
    """The kernel of the same family with other `channels`, one count for each axis.

    Raises ValueError where `kernel` has no family, or one with another number of axes.
    """
    layout = _layout(kernel)
    if layout is None or len(layout.names) != len(channels):
        raise ValueError(f"no kernel of {len(channels)} channel counts: {kernel}")
    return _resized(kernel, layout, channels)


def _resized(kernel: Kernel, layout: _Layout, channels: Sequence[int]) -> Kernel:
    tensors = [*kernel.inputs, *kernel.outputs]
    for (number, dimension), times in layout.sizes.items():
        tensor = tensors[number]
        assert tensor is not None
        shape = list(tensor.shape)
        shape[dimension] = sum(t * c for t, c in zip(times, channels, strict=True))
        tensors[number] = replace(tensor, shape=tuple(shape))
    for number in layout.echoes:
        tensor, output = tensors[number], tensors[-1]
        assert tensor is not None
        assert tensor.values is not None
        assert output is not None
        tensors[number] = replace(tensor, values=(*tensor.values[:-1], output.shape[-1]))
    single = [_without_single_scale(tensor) for tensor in tensors]
    count = len(kernel.inputs)
    outputs = tuple(tensor for tensor in single[count:] if tensor is not None)
    return replace(kernel, inputs=tuple(single[:count]), outputs=outputs)


def _without_single_scale(tensor: Tensor | None) -> Tensor | None:
    """`tensor`; a single channel has a single scale, which no file tells from none."""
    if tensor is None or tensor.quantized_axis is None:
        return tensor
    return (
        replace(tensor, quantized_axis=None) if tensor.shape[tensor.quantized_axis] == 1 else tensor
    )


def _layout(kernel: Kernel) -> _Layout | None:
    """Where the channels of `kernel` stand; None where a size does not fit what its rule says."""
    rule = _RULES.get(kernel.op)
    if rule is None or len(kernel.outputs) != 1 or not kernel.outputs[0].shape:
        return None
    layout = rule(kernel)
    if layout is None or min(layout.channels) < 1:
        return None
    shapes = _shapes(kernel)
    for (number, dimension), times in layout.sizes.items():
        expected = sum(t * c for t, c in zip(times, layout.channels, strict=True))
        if shapes[number][dimension] != expected:
            return None
    return layout


def _shapes(kernel: Kernel) -> list[tuple[int, ...]]:
    """Shapes of all operands, inputs first; () for one that is left out."""
    return [() if t is None else t.shape for t in (*kernel.inputs, *kernel.outputs)]


def _last(kernel: Kernel) -> int:
    """Number of the output among all tensors."""
    return len(kernel.inputs)


def _window(kernel: Kernel) -> str:
    if kernel.op not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return ""
    _, height, width, _ = _shapes(kernel)[1]
    return f"{height}x{width}"


def _bias(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether an operator with data, weights and one output has a bias as well."""
    return len(shapes) > 3 and len(shapes[2]) == 1


def _convolution(kernel: Kernel) -> _Layout | None:
    shapes = _shapes(kernel)
    if len(shapes) < 3 or len(shapes[0]) != 4 or len(shapes[1]) != 4:
        return None
    sizes = {(0, 3): (1, 0), (1, 0): (0, 1), (1, 3): (1, 0), (_last(kernel), -1): (0, 1)}
    if _bias(shapes):
        sizes[2, 0] = (0, 1)
    return _Layout(("in", "out"), (shapes[0][3], shapes[1][0]), sizes)


def _depthwise(kernel: Kernel) -> _Layout | None:
    shapes = _shapes(kernel)
    if len(shapes) < 3 or len(shapes[0]) != 4 or len(shapes[1]) != 4 or not shapes[0][3]:
        return None
    times = (shapes[1][3] // shapes[0][3],)
    sizes = {(0, 3): (1,), (1, 3): times, (_last(kernel), -1): times}
    if _bias(shapes):
        sizes[2, 0] = times
    return _Layout(("channels",), (shapes[0][3],), sizes)


def _fully_connected(kernel: Kernel) -> _Layout | None:
    shapes = _shapes(kernel)
    if len(shapes) < 3 or not shapes[0] or len(shapes[1]) != 2 or not shapes[0][-1]:
        return None
    # Data with more axes than two may be flattened on the way in.
    flattened = shapes[1][1] // shapes[0][-1]
    sizes = {(0, -1): (1, 0), (1, 0): (0, 1), (1, 1): (flattened, 0), (_last(kernel), -1): (0, 1)}
    if _bias(shapes):
        sizes[2, 0] = (0, 1)
    return _Layout(("in", "out"), (shapes[0][-1], shapes[1][0]), sizes)


def _channelwise(kernel: Kernel, steering: int | None = None) -> _Layout | None:
    """Every operand has the same channels last, or one value for all of them.

    `steering` is the number of an operand that is no data.
    """
    shapes = _shapes(kernel)
    channels = shapes[-1][-1]
    sizes = {
        (number, -1): (1,)
        for number, shape in enumerate(shapes)
        if shape and number != steering and (shape[-1] != 1 or channels == 1)
    }
    return _Layout(("channels",), (channels,), sizes)


def _reduction(kernel: Kernel) -> _Layout | None:
    """Sums over places, not over channels."""
    over = _values(kernel, 1)
    rank = len(_shapes(kernel)[0])
    if over is None or any(axis in (-1, rank - 1) for axis in over):
        return None
    return _channelwise(kernel, steering=1)


def _padding(kernel: Kernel) -> _Layout | None:
    """Adds places, not channels."""
    pads = _values(kernel, 1)
    if pads is None or any(pads[-2:]):
        return None
    return _channelwise(kernel, steering=1)


def _concatenation(kernel: Kernel) -> _Layout | None:
    """Joins channels."""
    shapes = _shapes(kernel)
    count = len(kernel.inputs)
    last = ("-1", str(len(shapes[-1]) - 1))
    if count > len(_JOINED) or not all(shapes) or dict(kernel.options).get("axis") not in last:
        return None
    sizes = {(i, -1): tuple(int(i == j) for j in range(count)) for i in range(count)}
    sizes[count, -1] = (1,) * count
    return _Layout(_JOINED[:count], tuple(shape[-1] for shape in shapes[:count]), sizes)


def _reshape(kernel: Kernel) -> _Layout | None:
    """Keeps the channels last, or flattens places and channels together."""
    shapes = _shapes(kernel)
    if not shapes[0] or not shapes[0][-1]:
        return None
    sizes = {(0, -1): (1,), (_last(kernel), -1): (shapes[-1][-1] // shapes[0][-1],)}
    values = _values(kernel, 1)
    echoes = (1,) if values and values[-1] == shapes[-1][-1] else ()
    return _Layout(("channels",), (shapes[0][-1],), sizes, echoes)


def _values(kernel: Kernel, number: int) -> tuple[int, ...] | None:
    """The values of a constant that steers the operator; None where there is none."""
    tensor = kernel.inputs[number] if number < len(kernel.inputs) else None
    return None if tensor is None else tensor.values


_JOINED = ("first", "second", "third")

_CHANNELWISE = (
    "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU RELU RELU6 RELU_N1_TO_1 LOGISTIC"
    " TANH ELU SQRT RSQRT EXP SQUARE ABS NEG HARD_SWISH GELU LEAKY_RELU QUANTIZE DEQUANTIZE"
    " AVERAGE_POOL_2D MAX_POOL_2D SOFTMAX LOG_SOFTMAX L2_NORMALIZATION"
)

_RULES: Mapping[str, Callable[[Kernel], _Layout | None]] = {
    **dict.fromkeys(_CHANNELWISE.split(), _channelwise),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), _reduction),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _padding),
    **dict.fromkeys(
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), partial(_channelwise, steering=1)
    ),
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "CONCATENATION": _concatenation,
    "RESHAPE": _reshape,
}
