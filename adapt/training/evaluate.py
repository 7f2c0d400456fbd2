"""Accuracy of a .tflite file that this program made itself, run on this machine."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from adapt.training.data import Data

__all__ = ["tflite_accuracy"]


def tflite_accuracy(content: bytes, data: Data) -> float:
    """Share of the test split that `content`, float32 or int8 with batch 1, gets right."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    right = 0
    for stored, label in zip(data.test.inputs, data.test.labels, strict=True):
        x = data.prepared(stored[None])
        if scale:
            limits = np.iinfo(source["dtype"])
            x = np.clip(np.rint(x / scale) + zero_point, limits.min, limits.max)
        interpreter.set_tensor(source["index"], x.astype(source["dtype"]))
        interpreter.invoke()
        right += int(interpreter.get_tensor(target["index"])[0].argmax() == label)
    return right / len(data.test)
