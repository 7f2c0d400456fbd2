"""Which of the legal mappings a layer is given: the policies.

`optimal` is the mapping of least energy, sparsity, bits and encoding counted: what the hardware
could do at best. It may fill the buffer unevenly, and is chosen anew for every sparsity.

`mit2017` reproduces what the estimation tool of Yang et al. (CVPR 2017, Asilomar 2017) published,
concluded from its figures, since neither its source nor its rules are public:

  * Images are processed together only in numbers that divide the batch and whose partial sums of
    all filters fit the whole buffer; then m is all filters. Otherwise, one by one.
  * A strip is as high as can be folded into the array and held in the buffer; the chip strip-mines
    only what does not fit (JSSC 2017). So wide planes of 1 x 1 convolutions have all rows of the
    output in one strip, few filters share the buffer, and the ifmap is read again for each lot of
    them: the movement of feature maps that dominates GoogLeNet.
  * Weights of convolutions are staged in the buffer, and read for every tile of outputs as wide
    and high as the array; partial sums cross the array on their way to the buffer and back; the
    first product of a sum is added to a stored zero.
  * What remains open is chosen by the energy of the dense layer, and kept when zeros are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from adapt.cost.eyeriss.energy import Settings
from adapt.cost.eyeriss.hardware import Hardware
from adapt.cost.eyeriss.layer import Layer
from adapt.cost.eyeriss.mapping import Mapping
from adapt.cost.eyeriss.search import cheapest, sizes
from adapt.cost.eyeriss.traffic import Movement
from adapt.errors import InputError

__all__ = ["POLICIES", "Policy", "best_mapping"]

# More words than any layer has.
_UNLIMITED = 1 << 62


@dataclass(frozen=True)
class Policy:
    """How mappings are chosen and what they move.

    `choose` takes one group of a layer, hardware, settings and the groups of the whole layer.
    """

    name: str
    movement: Movement
    choose: Callable[[Layer, Hardware, Settings, int], Mapping | None]


def best_mapping(layer: Layer, hardware: Hardware, settings: Settings) -> Mapping:
    """The mapping of each group of `layer` under the policy that `settings` names.

    InputError where no mapping fits the hardware.
    """
    choose = POLICIES[settings.policy].choose
    found = choose(layer.one_group(), hardware, settings, layer.groups)
    if found is None:
        raise InputError(
            f"layer {layer.name} does not fit the hardware, however it is cut up",
            "A row of one output channel must fit the buffer beside the rows it is made from.",
        )
    return found


def _optimal(layer: Layer, hardware: Hardware, settings: Settings, groups: int) -> Mapping | None:
    movement = POLICIES["optimal"].movement
    images, rows = sizes(settings.batch), sizes(layer.out_height)
    return cheapest(layer, hardware, settings, movement, images, rows)


def _mit2017(layer: Layer, hardware: Hardware, settings: Settings, groups: int) -> Mapping | None:
    movement = POLICIES["mit2017"].movement
    words = hardware.all_buffer_words
    together = [
        n
        for n in range(1, settings.batch + 1)
        if settings.batch % n == 0 and n * groups * layer.outputs <= words
    ]
    # Where all partial sums fit, the ifmaps have whatever room they take.
    roomy = replace(hardware, buffer_words=_UNLIMITED if together else words)
    images = np.array([max(together, default=1)])
    for rows in sorted(sizes(layer.out_height).tolist(), reverse=True):
        found = cheapest(
            layer.dense(),
            roomy,
            settings,
            movement,
            images,
            np.array([rows]),
            split=not together,
        )
        if found is not None:
            return found
    return None


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("optimal", Movement(), _optimal),
        Policy(
            "mit2017",
            Movement(stages_weights=True, psums_cross_array=True, counts_first=True),
            _mit2017,
        ),
    )
}
