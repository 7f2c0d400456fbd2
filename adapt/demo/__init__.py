"""The bundled first job: handwritten digits and a small network that knows them.

The digits are scikit-learn's own copy of the UCI "Optical Recognition of Handwritten Digits" test
set: 1,797 images of 8x8 pixels with 17 grey levels. The network, `digits.keras`, is trained by
tools/train_demo.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

__all__ = ["MODEL", "digits", "digits_arrays"]

MODEL = Path(__file__).with_name("digits.keras")

# scikit-learn orders the images by writer: the last ones, by writers of their own, are the test
# set that the bundled documentation of the data uses as well.
_TEST_IMAGES = 450

_GREY_LEVELS = 16.0


def digits_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x_train, y_train, x_test, y_test: float32 images [N, 8, 8, 1] from 0 to 1, labels int32."""
    bunch = load_digits()
    images = (bunch.images[..., np.newaxis] / _GREY_LEVELS).astype(np.float32)
    labels = bunch.target.astype(np.int32)
    split = len(labels) - _TEST_IMAGES
    return images[:split], labels[:split], images[split:], labels[split:]


def digits() -> tuple[Any, Any]:
    """The digits as (train, test) tf.data sets of (image, label)."""
    x_train, y_train, x_test, y_test = digits_arrays()
    return (
        tf.data.Dataset.from_tensor_slices((x_train, y_train)),
        tf.data.Dataset.from_tensor_slices((x_test, y_test)),
    )
