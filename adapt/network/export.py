"""A Keras model as a .tflite file, with fixed batch 1 and its weights as constants."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import StatelessScope

from adapt.errors import InputError
from adapt.network import graph
from adapt.telemetry import muted

__all__ = ["Samples", "to_tflite"]

Samples = Iterable[np.ndarray | Sequence[np.ndarray]]
"""Calibration inputs, each float32 of the network's input shape with batch 1; for a network with
several inputs, one array for each."""

# How much of the converter's own words an error repeats.
_ERROR_TAIL = 300


def to_tflite(model: keras.Model, samples: Samples | None = None) -> bytes:
    """Convert `model`; the same model gives the same bytes.

    float32 unless `samples` are given: then int8 throughout, weights quantised for each channel,
    activations calibrated on `samples`. The model's weights enter as constants, which spares the
    converter the freezing of variables and takes a tenth of its time. Raises InputError for a
    network that the converter refuses.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_constant_function(model)])
    if samples is not None:
        calibration = [[s] if isinstance(s, np.ndarray) else list(s) for s in samples]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    try:
        with muted(sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr):
            return bytes(converter.convert())
    except Exception as error:  # The converter raises whatever its passes raise.
        raise InputError(
            f"TensorFlow Lite cannot convert {model.name}: {str(error)[-_ERROR_TAIL:].strip()}",
            "Replace the layers it names by ones that have TensorFlow Lite operators.",
        ) from error


def _constant_function(model: keras.Model) -> Any:
    """The inference of `model` on one input as a concrete function without variables."""
    values = [
        (variable, np.asarray(variable))
        for call in graph.calls(model)
        for variable in graph.variables(call.operation)
    ]

    def infer(*inputs: Any) -> Any:
        x = keras.tree.pack_sequence_as(model.input, inputs)
        # Constants are made while tracing, so that they belong to the traced graph.
        with StatelessScope([(variable, tf.constant(value)) for variable, value in values]):
            return model(x, training=False)

    signature = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    trace: Callable[[], Any] = tf.function(infer, input_signature=signature).get_concrete_function
    return trace()
