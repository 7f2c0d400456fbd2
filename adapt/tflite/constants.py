"""Random contents for the constant operands of a kernel, the same for the same seed.

The contents do not change how long a kernel takes, as long as no value is denormal, infinite or
not a number: so a large tensor repeats a block of noise, since drawing each value would take
longer than all the rest of writing a kernel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.tflite.ops import Operator
from adapt.tflite.quantization import fan_in
from lookup_tables.kernel import Tensor

__all__ = ["Array", "random_constant"]

Array = npt.NDArray[Any]

# Values of noise before it repeats: about 0.5 ms to draw. A prime, so that the repetition does
# not fall into step with the channels.
_BLOCK = 65_521

# Noise keeps this far from zero: divided by the root of any real fan-in it is still a normal
# number, in float16 too (smallest normal 6e-5).
_LEAST = 0.01

# Integer biases stay small beside the sums of products that they are added to.
_LARGEST_BIAS = 1024


def random_constant(tensor: Tensor, entry: Operator, position: int, seed: int) -> Array:
    """Contents of the constant input at `position` of an operator, of the tensor's shape and type.

    Float weights and biases are N(0, 1 / fan-in), so that outputs are of the size of the inputs;
    other floats lie in [0.5, 1.5), where no operator's result is infinite or undefined. Integers
    of 8 and 16 bits fill their range; wider integers are small as biases and zero otherwise (an
    index that is always valid).
    """
    if tensor.values is not None:
        return np.array(tensor.values, tensor.dtype).reshape(tensor.shape)
    role = entry.role
    is_bias = role is not None and position == role.bias
    is_weights = role is not None and position == role.weights
    if tensor.dtype in ("float32", "float16"):
        if is_bias or is_weights:
            scale = 1 / math.sqrt(fan_in(entry, tensor) if is_weights else 1)
            values = _tiled(_normal(seed, position), tensor.shape) * np.float32(scale)
        else:
            values = _tiled(_uniform(seed, position), tensor.shape)
        return values.astype(tensor.dtype, copy=False)
    if tensor.dtype in ("int32", "int64") and not is_bias:
        return np.zeros(tensor.shape, tensor.dtype)
    limit = _LARGEST_BIAS if is_bias else 0
    return _tiled(_integers(seed, position, tensor.dtype, limit), tensor.shape)


def _tiled(block: Array, shape: tuple[int, ...]) -> Array:
    size = math.prod(shape)
    flat = block[:size] if size <= block.size else np.resize(block, size)
    return flat.reshape(shape)


# A kernel has at most four random operands; a batch of kernels uses one seed.
_CACHED_BLOCKS = 16


@lru_cache(maxsize=_CACHED_BLOCKS)
def _normal(seed: int, position: int) -> Array:
    noise = np.random.default_rng((seed, position)).standard_normal(_BLOCK, np.float32)
    kept: Array = np.copysign(np.maximum(np.abs(noise), np.float32(_LEAST)), noise)
    return kept


@lru_cache(maxsize=_CACHED_BLOCKS)
def _uniform(seed: int, position: int) -> Array:
    return np.random.default_rng((seed, position)).random(_BLOCK, np.float32) + np.float32(0.5)


@lru_cache(maxsize=_CACHED_BLOCKS)
def _integers(seed: int, position: int, dtype: str, limit: int) -> Array:
    """Integers in [-limit, limit]; where limit is 0, of the whole range but its lowest value."""
    generator = np.random.default_rng((seed, position))
    if dtype == "bool":
        return generator.integers(0, 2, _BLOCK).astype(np.bool_)
    bounds = np.iinfo(dtype)
    low, high = (-limit, limit) if limit else (int(bounds.min) + 1, int(bounds.max))
    return generator.integers(low, high, _BLOCK, np.dtype(dtype).type, endpoint=True)
