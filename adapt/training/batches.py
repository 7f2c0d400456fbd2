"""How many examples a network takes at once, and the next of them read ahead."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from adapt.network.elastic import ElasticNetwork

__all__ = ["at_once", "kept_at_once", "read_ahead", "split_up"]

_T = TypeVar("_T")

# Bytes of activations that are in memory together, of a pass forward and of one whose activations
# are kept, as a training step's are until its gradients are found. They decide how a batch is cut
# into parts, and so the bits of a result: they are constants, not what a machine happens to have.
_PASSING_BYTES: Final = 384 << 20
_KEPT_BYTES: Final = 384 << 20

# Of the largest activation, so many are there at a time while a network runs forward: what a layer
# reads and writes, what a branch waits with, and the working memory of a convolution.
_ALIVE: Final = 4


def at_once(network: ElasticNetwork, most: int) -> int:
    """Examples for one pass forward, at most `most`: what was read is forgotten on the way."""
    largest = max(network.activation_sizes)
    return max(1, min(most, _PASSING_BYTES // (4 * _ALIVE * largest)))


def kept_at_once(network: ElasticNetwork, most: int) -> int:
    """Examples, at most `most`, for a pass of which all activations are needed until its end."""
    return max(1, min(most, _KEPT_BYTES // (4 * sum(network.activation_sizes))))


def split_up(count: int, most: int) -> list[slice]:
    """`count` examples in as few parts of at most `most` as it takes, as equal as they can be."""
    parts = -(-count // most)
    ends = [count * number // parts for number in range(parts + 1)]
    return [slice(first, end) for first, end in itertools.pairwise(ends)]


def read_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """`items`, each made while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
