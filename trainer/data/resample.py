"""Bring an axis of voxels onto another grid by area, as one matrix."""

from __future__ import annotations

import numpy as np

from trainer.data.grid import Image


def area_weights(source: int, target: int, *, step: float) -> Image:
    """Return [target, source]: each target voxel is the mean of the source voxels it covers.

    The source lies centred, `step` source voxels to a target voxel, zeros around it. Where a target
    voxel is smaller than a source voxel this is linear interpolation.
    """
    width = max(step, 1.0)
    centre = (np.arange(target) + 0.5 - target / 2) * step + source / 2
    edge = np.arange(source)
    low, high = centre[:, None] - width / 2, centre[:, None] + width / 2
    overlap = np.minimum(high, edge + 1) - np.maximum(low, edge)
    return np.asarray(np.clip(overlap, 0, None) / width, dtype=np.float32)


def along(image: Image, weights: Image, *, axis: int) -> Image:
    """Apply `area_weights` to one axis of an image."""
    turned = np.moveaxis(np.tensordot(weights, image, axes=(1, axis)), 0, axis)
    return np.asarray(turned, dtype=np.float32)


def back_weights(source: int, target: int, *, step: float) -> Image:
    """Return [source, target], the way back from `area_weights`: each row is a mean, or nothing.

    What lies outside the target is zero; next to its border the outermost target voxel counts.
    """
    weights = area_weights(target, source, step=1 / step)
    whole = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, whole, where=whole > 0, out=np.zeros_like(weights)))
