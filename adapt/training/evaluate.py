"""How good a .tflite file is that this program made itself, run on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from adapt.training.data import Data, Split
from adapt.training.scores import Score, scored

__all__ = ["tflite_score"]

# Examples whose inputs are made ready at once.
_BATCH = 256


def tflite_score(content: bytes, data: Data, split: Split, *, gives_logits: bool) -> Score:
    """The score of `content`, float32 or int8 with batch 1, on `split` of `data`.

    Outputs of int8 stand for real numbers some way apart, so that probabilities do not add up to 1:
    they are made to, and one that is shown as 0 counts as half a step.
    """
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    target = interpreter.get_output_details()[0]
    scale = float(target["quantization"][0])
    outputs = _outputs(interpreter, target, data, split)
    if gives_logits:
        return scored(map(_softmax, outputs), split.labels)
    if not scale:
        return scored(outputs, split.labels)
    return scored(map(_normalised, outputs), split.labels, scale / 2)


def _outputs(
    interpreter: Interpreter, target: dict[str, Any], data: Data, split: Split
) -> Iterator[np.ndarray]:
    """What the outputs stand for, float32 [n, classes], batch by batch."""
    source = interpreter.get_input_details()[0]
    scale, zero_point = target["quantization"]
    for first in range(0, len(split), _BATCH):
        inputs = _stored(data.prepared(split.inputs[first : first + _BATCH]), source)
        rows = []
        for x in inputs:
            interpreter.set_tensor(source["index"], x[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target["index"])[0])
        found = np.stack(rows).astype(np.float32)
        yield (found - zero_point) * np.float32(scale) if scale else found


def _stored(inputs: np.ndarray, source: dict[str, Any]) -> np.ndarray:
    """Real inputs as the file takes them; those beyond its range are clipped."""
    scale, zero_point = source["quantization"]
    if scale:
        limits = np.iinfo(source["dtype"])
        inputs = np.clip(np.rint(inputs / scale) + zero_point, limits.min, limits.max)
    return np.asarray(inputs, source["dtype"])


def _normalised(shares: np.ndarray) -> np.ndarray:
    total = np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.asarray(shares / total)


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
