"""Kernels as most networks for devices have them."""

from __future__ import annotations

from adapt.tflite.ops import make_kernel
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["TYPICAL_DTYPES", "stepping_kernels", "typical_kernels"]

TYPICAL_DTYPES = ("float32", "int8")

_SIDE, _CHANNELS, _CLASSES = 28, 32, 16

# Of one image a dense layer does little work, and quickly: it takes more units than a convolution
# channels, as many as have half of a small second-level cache of weights at the end of the sweep.
_SWEPT_CHANNELS = 64
_SWEPT_UNITS = {"float32": 512, "int8": 2048}


def typical_kernels(dtype: str) -> list[Kernel]:
    """One small kernel of each kind that convolutional networks are made of, in their order.

    Each reads what the one before it writes, so that neighbours make pairs.
    """
    image = Tensor(dtype, (1, _SIDE, _SIDE, _CHANNELS))
    padded = Tensor(dtype, (1, _SIDE + 2, _SIDE + 2, _CHANNELS))
    narrow = Tensor(dtype, (1, _SIDE, _SIDE, _CHANNELS // 4))
    half = Tensor(dtype, (1, _SIDE // 2, _SIDE // 2, _CHANNELS))
    squeezed = Tensor(dtype, (1, 1, 1, _CHANNELS))
    flat = Tensor(dtype, (1, _CHANNELS))
    scores = Tensor(dtype, (1, _CLASSES))
    borders = Tensor("int32", (4, 2), True, (0, 0, 1, 1, 1, 1, 0, 0))
    axes = Tensor("int32", (2,), True, (1, 2))
    shape = Tensor("int32", (2,), True, (1, _CHANNELS))
    pool = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2}
    pad = make_kernel("PAD", [image, borders], [padded])
    # Few channels before and after convolutions: beside a long one nothing shows.
    return [
        pad,
        _convolution(padded, narrow, window=3, padding="VALID"),
        _convolution(narrow, image, window=1),
        make_kernel("RELU6", [image], [image]),
        pad,
        _depthwise(padded, image, padding="VALID"),
        make_kernel("LOGISTIC", [image], [image]),
        make_kernel("MUL", [image, image], [image]),
        _convolution(image, narrow, window=1),
        _convolution(narrow, image, window=1),
        make_kernel("ADD", [image, image], [image]),
        _convolution(image, narrow, window=1),
        _convolution(narrow, image, window=1),
        make_kernel("RELU", [image], [image]),
        _depthwise(image, image),
        make_kernel("HARD_SWISH", [image], [image]),
        _convolution(image, image, window=3),
        make_kernel("MAX_POOL_2D", [image], [half], **pool),
        _convolution(half, half, window=1),
        make_kernel("AVERAGE_POOL_2D", [half], [_quarter(half)], **pool),
        make_kernel("MEAN", [_quarter(half), axes], [squeezed], keep_dims=True),
        make_kernel("RESHAPE", [squeezed, shape], [flat]),
        _dense(flat, scores),
        make_kernel("SOFTMAX", [scores], [scores], beta=1.0),
    ]


def stepping_kernels(dtype: str) -> list[Kernel]:
    """Kernels of the operators that take most of a network's time, to sweep the channels of.

    Of each operator and usual filter size one, with about the work that a sweep is best made at.
    """

    def image(side: int) -> Tensor:
        return Tensor(dtype, (1, side, side, _SWEPT_CHANNELS))

    flat = Tensor(dtype, (1, _SWEPT_UNITS[dtype]))
    return [
        _convolution(image(7), image(7), window=1),
        _convolution(image(4), image(4), window=3),
        _depthwise(image(18), image(18)),
        _depthwise(image(12), image(12), window=5),
        _dense(flat, flat),
    ]


def _quarter(half: Tensor) -> Tensor:
    return Tensor(half.dtype, (1, half.shape[1] // 2, half.shape[2] // 2, half.shape[3]))


def _weights(dtype: str, shape: tuple[int, ...], axis: int) -> list[Tensor]:
    """Weights and bias; int8 ones have a scale for each channel, as the converter makes them."""
    channels = shape[axis]
    if dtype == "float32":
        return [Tensor(dtype, shape, True), Tensor(dtype, (channels,), True)]
    return [
        Tensor(dtype, shape, True, quantized_axis=axis),
        Tensor("int32", (channels,), True, quantized_axis=0),
    ]


def _convolution(data: Tensor, result: Tensor, *, window: int, padding: str = "SAME") -> Kernel:
    shape = (result.shape[3], window, window, data.shape[3])
    operands = [data, *_weights(data.dtype, shape, 0)]
    return make_kernel("CONV_2D", operands, [result], padding=padding, stride_h=1, stride_w=1)


def _depthwise(data: Tensor, result: Tensor, *, window: int = 3, padding: str = "SAME") -> Kernel:
    operands = [data, *_weights(data.dtype, (1, window, window, data.shape[3]), 3)]
    return make_kernel(
        "DEPTHWISE_CONV_2D",
        operands,
        [result],
        padding=padding,
        stride_h=1,
        stride_w=1,
        depth_multiplier=1,
    )


def _dense(data: Tensor, result: Tensor) -> Kernel:
    weights = Tensor(data.dtype, (result.shape[1], data.shape[1]), constant=True)
    return make_kernel("FULLY_CONNECTED", [data, weights, None], [result])
