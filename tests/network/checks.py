"""What is tried on each architecture, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from adapt.network import shrink
from adapt.network.load import Network
from adapt.tflite.quantities import macs
from adapt.tflite.reader import read_kernels
from tests.network.architectures import Architecture
from tests.network.proof import difference, random_inputs, random_keep, randomise

__all__ = ["EXACT", "Finding", "converted", "examine", "kernels_agree", "run", "runs_at_half"]

# Differences by the scale of an output that are rounding, in Keras and between it and the runtime.
EXACT = 1e-5
_OF_RUNTIME = 1e-4

# Width multipliers that are tried, as parts of the full width.
_PARTS = 64

Keep = dict[str, list[int]]


@dataclass(frozen=True)
class Finding:
    """What was found of an architecture.

    `exact` and `kernels` count the width vectors at which the shrunk network computes what the
    original does, and at which its kernels are the converter's. `half` is the share of the
    multiplications at which it was converted and run, None where that failed.
    """

    parameters: int
    groups: int
    filters: int
    kept_whole: tuple[str, ...]
    tried: int
    exact: int
    kernels: int
    half: float | None


def examine(architecture: Architecture, tried: int) -> Finding:
    """Everything, at `tried` random width vectors; minutes for the largest."""
    network = Network(randomise(architecture.full()))
    groups = network.groups
    keeps = [random_keep(groups, seed) for seed in range(tried)]
    return Finding(
        parameters=network.model.count_params(),
        groups=len(groups.groups),
        filters=sum(group.width for group in groups.groups),
        kept_whole=tuple(str(layer) for layer in groups.kept_whole),
        tried=tried,
        exact=sum(difference(network.model, keep) < EXACT for keep in keeps),
        kernels=sum(kernels_agree(network, keep) for keep in keeps),
        half=runs_at_half(network),
    )


def converted(network: Network, keep: Keep) -> tuple[keras.Model, bytes]:
    """The network with the filters `keep`, and its .tflite file."""
    weights = shrink.slice_weights(network.weights, network.groups, keep)
    model = network.shrunk(keep, weights)
    return model, network.to_tflite(model)


def kernels_agree(network: Network, keep: Keep) -> bool:
    """Whether the kernels predicted for these widths are the converter's."""
    _, content = converted(network, keep)
    predicted = network.kernels({name: len(kept) for name, kept in keep.items()})
    return [k.text for k in predicted] == [k.text for k in read_kernels(content)]


def runs_at_half(network: Network) -> float | None:
    """Share of the MACs, at most a half, at which the .tflite file computes what Keras does."""
    full = sum(map(macs, network.kernels({})))
    for part in reversed(range(_PARTS)):
        widths = {g.name: max(g.least, g.width * part // _PARTS) for g in network.groups.groups}
        share = sum(map(macs, network.kernels(widths))) / full
        if share <= 0.5:
            break
    else:
        return None
    rng = np.random.default_rng(0)
    keep = {
        group.name: sorted(rng.choice(group.width, widths[group.name], replace=False).tolist())
        for group in network.groups.groups
    }
    model, content = converted(network, keep)
    x = random_inputs(model, batch=1)
    expected = [np.asarray(y) for y in keras.tree.flatten(model(x, training=False))]
    got = run(content, keras.tree.flatten(x))
    agree = all(
        np.abs(a - b).max() <= _OF_RUNTIME * np.abs(b).max()
        for a, b in zip(_by_shape(got), _by_shape(expected), strict=True)
    )
    return share if agree else None


def run(content: bytes, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of a .tflite file, in its order; `inputs` stand in the model's."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = sorted(interpreter.get_input_details(), key=lambda detail: str(detail["name"]))
    for detail, x in zip(details, inputs, strict=True):
        interpreter.set_tensor(detail["index"], x)
    interpreter.invoke()
    outputs: list[Any] = interpreter.get_output_details()
    return [np.array(interpreter.get_tensor(detail["index"])) for detail in outputs]


def _by_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The converter has an order of its own for several outputs."""
    return sorted(arrays, key=lambda array: array.shape)
