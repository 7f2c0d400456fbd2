"""How much DRAM traffic sparse data takes, as a share of what it takes uncompressed."""

from __future__ import annotations

from adapt.cost.eyeriss.layer import Operand

__all__ = ["ENCODINGS", "encoded_share"]

ENCODINGS = ("run-length", "significance-map", "none")

# Eyeriss packs three pairs of a run of up to 31 zeros, five bits, and the value that ends it into
# 64 bits, one of which marks the end (Chen et al., JSSC 2017).
_RUN_BITS = 5
_PAIRS_OF_WORD = 3
_LONGEST_RUN = 31


def encoded_share(encoding: str, operand: Operand) -> float:
    """Bits moved for each bit of `operand`, 0 to 1; a tensor that would grow is left as it is.

    Zeros are taken to stand anywhere with equal chance.
    """
    if encoding == "none":
        return 1.0
    if encoding == "significance-map":
        return min(1.0, operand.density + 1 / operand.bits)
    overhead = _RUN_BITS + 1 / _PAIRS_OF_WORD
    return min(1.0, _pairs(operand.density) * (1 + overhead / operand.bits))


def _pairs(density: float) -> float:
    """Pairs for each value: a run of 31 zeros and one more takes a pair without a value in it."""
    zeros = (1 - density) ** (_LONGEST_RUN + 1)
    if zeros == 1:  # The limit for a density of 0: nothing but full runs.
        return 1 / (_LONGEST_RUN + 1)
    return density / (1 - zeros)
