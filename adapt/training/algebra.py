"""Linear algebra whose bits do not depend on how many processors there are.

numpy's uses as many threads as it finds; TensorFlow's are pinned, see `finetune.pin_threads`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

__all__ = ["inverse", "product", "solution"]


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`left` [m, k] times `right` [k, n]."""
    found: np.ndarray = tf.matmul(left, right).numpy()
    return found


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a regular `matrix` [n, n]."""
    found: np.ndarray = tf.linalg.inv(matrix).numpy()
    return found


def solution(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x [n, m] of `matrix` [n, n] times x = `right` [n, m]."""
    found: np.ndarray = tf.linalg.solve(matrix, right).numpy()
    return found
