"""When a kernel's weights are in the cache, and when they are not.

A kernel timed in a loop finds its weights in the second-level cache (L2). In a network it does so
only if the weights of all kernels fit: those that ran since its last turn have replaced them
otherwise. The size of the cache is learnt for each platform; the shares of it at which the change
begins and ends were chosen on 24 networks, float32 and int8, on a CPU with 1 MiB.
"""

from __future__ import annotations

import math

__all__ = [
    "CACHE_FACT",
    "COLD_FROM",
    "COLD_UNTIL",
    "MAX_COPIES",
    "SMALLEST_CACHE",
    "cold_share",
    "copies",
    "turns_cold",
]

# Name of the platform's fact: bytes of weights that stay close to the core between two runs.
CACHE_FACT = "l2_bytes"

# Up to this share of the cache, all weights of a network stay in it; activations need the rest.
COLD_FROM = 0.6

# From this share on, none is found there again. Caches that replace at random keep some below it.
COLD_UNTIL = 1.4

# CPUs that run TFLite have at least this much; a network far below needs no knowledge of it.
SMALLEST_CACHE = 64 << 10

# Bytes of weights in one run of a model of copies, as a share of the cache: enough to replace all.
_TURNOVER = 2.0

# Copies in one model. A kernel that cannot empty the cache with these has a small part of the
# weights of any network that exceeds it, and its time hardly depends on where they are.
MAX_COPIES = 40


def cold_share(weights: int, cache: float) -> float:
    """Share of the difference between cold and hot times that a network pays, 0 to 1.

    `weights` are the bytes of all its weights, `cache` is the platform's CACHE_FACT.
    """
    return min(1.0, max(0.0, (weights / cache - COLD_FROM) / (COLD_UNTIL - COLD_FROM)))


def turns_cold(weights: int, cache: float) -> bool:
    """Whether a kernel with so many bytes of weights needs a cold time of its own.

    One with too few hardly changes; one whose weights alone exceed the cache is cold in any loop.
    """
    return _TURNOVER * cache / MAX_COPIES <= weights < COLD_UNTIL * cache


def copies(weights: int, cache: float) -> int:
    """How many copies of a kernel, for which `turns_cold` holds, empty the cache."""
    return max(2, math.ceil(_TURNOVER * cache / weights))
