"""Kernels changed so that the filters that stay stand in for those that go.

What a filter shows is mostly a mixture of what others show. With the best mixture by least squares
(He et al., ICCV 2017, do this for each kernel anew; here it is for channels, so that one covariance
serves every choice of filters), the weights that read a removed filter are handed to those that
read the others. It costs no training step and leaves less for training to mend.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapt.network.groups import ChannelGroups
from adapt.network.shrink import Keep, Weights
from adapt.training.activations import Moments, Reader
from adapt.training.algebra import product, solution

__all__ = ["RIDGE", "compensated"]

# Added to variances, as a share of their mean: mixtures of nearly equal channels stay small.
RIDGE = 1e-3


def compensated(
    weights: Weights,
    groups: ChannelGroups,
    readers: Sequence[Reader],
    moments: Sequence[Moments],
    keep: Keep,
    current: Keep,
) -> Weights:
    """`weights`, of the network with the filters `current`, made ready to be cut to `keep`.

    `moments` are of what each of `readers` reads in that network; kernels of which there is no
    covariance, or that are not finite, are left alone. No shape changes.
    """
    kept, present = groups.kept(keep), groups.kept(current)
    changed = dict(weights)
    for reader, moment in zip(readers, moments, strict=True):
        stays = kept[reader.filters[present[reader.filters]]]
        if stays.all() or moment.covariance is None:
            continue
        if np.isfinite(weights[reader.kernel]).all():
            with np.errstate(over="ignore"):  # Of a network about to diverge.
                _compensate(changed, reader, moment.mean, moment.covariance, stays)
    return changed


def _compensate(
    weights: Weights,
    reader: Reader,
    mean: np.ndarray,
    covariance: np.ndarray,
    stays: np.ndarray,
) -> None:
    """Hand the weights that read channels which do not stay to the others, in `weights`."""
    ridge = RIDGE * max(float(np.trace(covariance)) / len(covariance), 1e-12)
    inner = covariance[np.ix_(stays, stays)] + ridge * np.eye(int(stays.sum()))
    # [kept, removed]: of which mixture each removed channel is.
    mixture = solution(inner, covariance[np.ix_(stays, ~stays)])
    kernel = np.moveaxis(weights[reader.kernel].astype(np.float64), reader.axis, 0).copy()
    rows = kernel.reshape(len(kernel), -1)  # A view: what is added here is added to the kernel.
    rows[stays] += product(mixture, rows[~stays])
    bias = (reader.kernel[0], reader.kernel[1] + 1)
    if bias in weights and weights[bias].shape == kernel.shape[-1:]:
        # What no mixture explains, the part that is always there.
        rest = mean[~stays] - product(mean[None, stays], mixture)[0]
        sums = kernel[~stays].reshape(len(rest), -1, kernel.shape[-1]).sum(axis=1)
        weights[bias] = (weights[bias] + product(rest[None], sums)[0]).astype(weights[bias].dtype)
    dtype = weights[reader.kernel].dtype
    weights[reader.kernel] = np.moveaxis(kernel, 0, reader.axis).astype(dtype)
