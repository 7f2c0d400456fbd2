"""When a kernel's weights are in a cache, and when they are not.

A kernel timed in a loop finds its weights in the second-level cache (L2). In a network it does so
only if the weights of all kernels fit: those that ran since its last turn have replaced them
otherwise. The size of the cache is learnt for each platform; the shares of it at which the change
begins and ends were chosen on 24 networks, float32 and int8, on a CPU with 1 MiB.

The same happens once more where weights and activations exceed the last cache (L3): then each byte
of weights comes from memory, and takes time that computing does not hide. How much is learnt for
each platform too, on a convolution, and on a matrix times a vector, which waits for memory anyway.

A loop also writes its result where the last run wrote it. A network has used other tensors since,
and a result that is not small beside L2 goes to the last cache.

The shares were set on the networks of `tools/bench/predict.py`; `tools/bench/thresholds.py` chooses
them on one half of these and says how well they then do on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapt.tflite.quantities import macs
from lookup_tables.kernel import Kernel

__all__ = [
    "BEYOND_FACT",
    "BEYOND_VECTOR_FACT",
    "CACHE_FACT",
    "L3_FACT",
    "L3_PS_FACT",
    "MAX_COPIES",
    "MEMORY_FACTS",
    "SHARES",
    "SMALLEST_CACHE",
    "SMALLEST_L3",
    "Shares",
    "beyond_share",
    "cold_share",
    "copies",
    "spills",
    "turns_cold",
    "uses_weights_once",
]

# Name of the platform's fact: bytes of weights that stay close to the core between two runs.
CACHE_FACT = "l2_bytes"


@dataclass(frozen=True, slots=True)
class Shares:
    """Sizes at which what does not fit in a cache begins to show, as shares of the cache.

    Attributes:
        cold_from: up to here all weights of a network stay in L2; activations need the rest.
        cold_until: from here on none is found there again. Caches that replace at random keep some
            below it.
        l3_from, l3_until: the same for weights and activations in the last cache.
        output_from, output_until: results of a kernel between these sizes are written beside L2 in
            a network, where other tensors were used since the last run, but not in a loop. Larger
            ones never stay in it.
    """

    cold_from: float = 0.6
    cold_until: float = 1.4
    l3_from: float = 0.5
    l3_until: float = 1.0
    output_from: float = 0.3
    output_until: float = 3.0


SHARES = Shares()

# CPUs that run TFLite have at least this much; a network far below needs no knowledge of it.
SMALLEST_CACHE = 64 << 10

# Names of further facts: bytes that the last cache keeps between two runs of a network, and the
# picoseconds that a byte of weights takes longer beyond it: of most kernels, and of those that use
# each weight once.
L3_FACT = "l3_bytes"
BEYOND_FACT = "beyond_l3_ps"
BEYOND_VECTOR_FACT = "beyond_l3_vector_ps"
MEMORY_FACTS = (L3_FACT, BEYOND_FACT, BEYOND_VECTOR_FACT)

# Picoseconds that a byte takes from the last cache to the core.
L3_PS_FACT = "l3_ps"

# A network far below the smallest last cache needs no knowledge of it.
SMALLEST_L3 = 2 << 20

# Bytes of weights in one run of a model of copies, as a share of the cache: enough to replace all.
_TURNOVER = 2.0

# Copies in one model. A kernel that cannot empty the cache with these has a small part of the
# weights of any network that exceeds it, and its time hardly depends on where they are.
MAX_COPIES = 40


def cold_share(weights: int, cache: float, shares: Shares = SHARES) -> float:
    """Share of the difference between cold and hot times that a network pays, 0 to 1.

    `weights` are the bytes of all its weights, `cache` is the platform's CACHE_FACT.
    """
    return _rise(weights / cache, shares.cold_from, shares.cold_until)


def beyond_share(footprint: int, cache: float, shares: Shares = SHARES) -> float:
    """Share of its weights that a network fetches from memory, 0 to 1.

    `footprint` are the bytes of all its weights and of the largest activations of one kernel,
    `cache` is the platform's L3_FACT.
    """
    return _rise(footprint / cache, shares.l3_from, shares.l3_until)


def _rise(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))


def spills(output: int, cache: float, shares: Shares = SHARES) -> bool:
    """Whether a result of so many bytes is written beside L2 in a network, but not in a loop."""
    return shares.output_from <= output / cache <= shares.output_until


def uses_weights_once(kernel: Kernel) -> bool:
    """Whether a kernel is a matrix times a vector, as a dense layer or a squeezed one."""
    weights = kernel.inputs[1] if len(kernel.inputs) > 1 else None
    return weights is not None and 0 < macs(kernel) <= math.prod(weights.shape)


def turns_cold(weights: int, cache: float) -> bool:
    """Whether a kernel with so many bytes of weights needs a cold time of its own.

    One with too few hardly changes; one whose weights alone exceed the cache is cold in any loop.
    """
    return _TURNOVER * cache / MAX_COPIES <= weights < SHARES.cold_until * cache


def copies(weights: int, cache: float) -> int:
    """How many copies of a kernel, for which `turns_cold` holds, empty the cache."""
    return max(2, math.ceil(_TURNOVER * cache / weights))
