"""Kernels as most networks for devices have them, in the order of a small network."""

from __future__ import annotations

from adapt.tflite.ops import make_kernel
from lookup_tables.kernel import Kernel, Tensor

__all__ = ["TYPICAL_DTYPES", "typical_kernels"]

TYPICAL_DTYPES = ("float32", "int8")

_SIDE, _CHANNELS, _CLASSES = 28, 32, 16


def typical_kernels(dtype: str) -> list[Kernel]:
    """One small kernel of each kind that convolutional networks are made of.

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
        make_kernel(
            "FULLY_CONNECTED",
            [flat, Tensor(dtype, (_CLASSES, _CHANNELS), constant=True), None],
            [scores],
        ),
        make_kernel("SOFTMAX", [scores], [scores], beta=1.0),
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


def _depthwise(data: Tensor, result: Tensor, *, padding: str = "SAME") -> Kernel:
    operands = [data, *_weights(data.dtype, (1, 3, 3, data.shape[3]), 3)]
    return make_kernel(
        "DEPTHWISE_CONV_2D",
        operands,
        [result],
        padding=padding,
        stride_h=1,
        stride_w=1,
        depth_multiplier=1,
    )
