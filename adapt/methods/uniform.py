"""The width multiplier: every group scaled by one factor. The baseline that a search must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapt.cost.base import Cost
from adapt.methods.base import (
    Bench,
    Phase,
    State,
    begun,
    finish,
    full_keep,
    meets,
    unreachable,
)
from adapt.network.load import Network
from adapt.training.finetune import Checkpoint
from adapt.training.importance import Rule, strongest

__all__ = ["Uniform"]

# Multipliers that are tried, as parts of the full width. Finer than any published width multiplier.
_PARTS = 64


class Uniform:
    """The largest width multiplier that meets the budget, then the long fine-tune."""

    name = "uniform"
    defaults: Mapping[str, Any] = {"importance": Rule.L2, "compensate": False}

    def start(self, bench: Bench, limits: Mapping[str, float], original: Cost) -> State:
        """The widest uniformly scaled network within `limits`."""
        part, cost = _largest(bench, limits)
        network = bench.network
        keep = full_keep(network)
        importance = bench.important(Checkpoint(network.weights), keep)
        keep = {
            name: strongest(importance, keep, name, width, network.groups)
            for name, width in _scaled(network, part).items()
        }
        return begun(bench, limits, original, (1, "all"), keep, cost)

    def step(self, bench: Bench, state: State, checkpoint: Checkpoint) -> tuple[State, Checkpoint]:
        """Cut the weights, then one piece of the long fine-tune after another."""
        if state.phase is Phase.SEARCH:
            weights = bench.cut(state.keep, checkpoint, full_keep(bench.network))
            return state.model_copy(update={"phase": Phase.FINISH}), Checkpoint(weights)
        return finish(bench, state, checkpoint)


def _scaled(network: Network, part: int) -> dict[str, int]:
    return {
        group.name: max(group.least, round(group.width * part / _PARTS))
        for group in network.groups.groups
    }


def _least(bench: Bench, limits: Mapping[str, float]) -> tuple[int, Cost]:
    """The smallest multiplier, in parts, that is within `limits`, of powers of two; its cost.

    Mostly the very smallest; but some kernels take longer with few channels than with more.
    """
    narrowest = bench.pricer.price(_scaled(bench.network, 1))
    part, cost = 1, narrowest
    while not meets(cost, limits):
        part *= 2
        if part > _PARTS:
            raise unreachable(narrowest, limits)
        cost = bench.pricer.price(_scaled(bench.network, part))
    return part, cost


def _largest(bench: Bench, limits: Mapping[str, float]) -> tuple[int, Cost]:
    """The largest multiplier within `limits`, in parts, and its cost.

    By bisection, since every multiplier that is priced costs measurements: the largest where the
    cost never falls as the network widens, and one that is within `limits` in any case.
    """
    low, low_cost = _least(bench, limits)
    high = _PARTS + 1
    while high - low > 1:
        middle = (low + high) // 2
        cost = bench.pricer.price(_scaled(bench.network, middle))
        if meets(cost, limits):
            low, low_cost = middle, cost
        else:
            high = middle
    return low, low_cost
