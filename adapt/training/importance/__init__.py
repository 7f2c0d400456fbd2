"""Which filters to keep: how much each matters, by the rule that the user chooses."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights
from adapt.training.activations import Activations
from adapt.training.data import Data
from adapt.training.importance.elimination import output_errors
from adapt.training.importance.gradients import Gradients
from adapt.training.importance.kernels import distances, magnitudes

__all__ = ["Importance", "Rule", "magnitudes", "strongest"]


class Rule(StrEnum):
    """What makes a filter important."""

    L2 = "l2"
    TAYLOR = "taylor"
    FPGM = "fpgm"
    ACTIVATION = "activation"


class Importance:
    """How much each filter of shrunk versions of one network matters.

    `traces` counts how often gradients were traced: once, whatever the widths.
    """

    def __init__(
        self,
        network: ElasticNetwork,
        groups: ChannelGroups,
        data: Data,
        activations: Activations,
    ) -> None:
        self._groups = groups
        self._activations = activations
        self._gradients = Gradients(network, groups, data)
        self.traces = self._gradients.traces
        self._last: tuple[Weights, dict[str, list[int]], Rule, np.ndarray] | None = None

    def of(self, weights: Weights, keep: Keep, rule: Rule) -> np.ndarray:
        """Importance of each filter, float64 [filters of the unshrunk network].

        `weights` are those of the network with the filters `keep`; 0 for those removed. None is
        negative. Numbers compare within a group; of most rules, not beyond.
        """
        present = {name: list(positions) for name, positions in keep.items()}
        # The steps of an iteration ask about the same network again and again.
        if self._last is None or self._last[0] is not weights or self._last[1:3] != (present, rule):
            self._last = weights, present, rule, self._found(weights, present, rule)
        return self._last[3]

    def _found(self, weights: Weights, keep: Keep, rule: Rule) -> np.ndarray:
        match rule:
            case Rule.L2:
                return magnitudes(weights, self._groups, keep)
            case Rule.FPGM:
                return distances(weights, self._groups, keep)
            case Rule.TAYLOR:
                return self._gradients.taylor(weights, keep)
            case Rule.ACTIVATION:
                moments = self._activations.of(weights)
                return output_errors(
                    weights, self._groups, self._activations.readers, moments, keep
                )


def strongest(importance: np.ndarray, kept: Mapping[str, list[int]], name: str, width: int,
              groups: ChannelGroups) -> list[int]:  # fmt: skip
    """The `width` most important of the positions of group `name` that are still kept, ascending.

    Of equally important filters the first stay, so that the choice is the same on every machine.
    """
    positions = np.asarray(kept[name])
    values = importance[groups.groups[groups.index[name]].filters[positions]]
    best = np.argsort(-values, kind="stable")[:width]
    return sorted(int(p) for p in positions[best])
