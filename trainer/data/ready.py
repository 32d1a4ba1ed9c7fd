"""A scan made ready for a network as training data is, and the way back onto its voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.data.grid import Image
from trainer.data.preprocess import Recipe, every_slice
from trainer.data.recipes import AnyRecipe
from trainer.data.volumes import Scan
from trainer.data.whole import scaled_volume


@dataclass(frozen=True)
class Ready:
    """What a network is given, and what its answers mean for the scan."""

    inputs: Image
    """All slices `[S, C, H, W]`, or the one volume `[1, C, D, H, W]`."""
    back: Callable[[Image], Image]
    """From answers `[n, K, ...]` for the inputs to the voxels `[K, X, Y, Z]`, upright; voxels that
    the network did not see are 0."""


def make_ready(scan: Scan, *, recipe: AnyRecipe) -> Ready:
    """Prepare a scan as the recipe prepares training data.

    Raises:
        VolumeRefused: when all is air, a channel has no contrast, or it becomes too large.
    """
    shape, spacing = scan.image.shape[1:], scan.grid.spacing
    if isinstance(recipe, Recipe):
        cut = recipe.cut(shape, spacing)
        slices = every_slice(scan.patient, scan.image, cut, recipe=recipe)
        return Ready(np.ascontiguousarray(slices, dtype=np.float32), cut.back)
    frame = recipe.frame(scan.patient, shape, spacing)
    image, box = scaled_volume(scan.patient, scan.image, frame, recipe=recipe)

    def back(answers: Image) -> Image:
        whole = np.zeros((answers.shape[1], *frame.shape), dtype=np.float32)
        whole[:, *box] = answers[0]
        return frame.back(whole)

    return Ready(np.ascontiguousarray(image[None], dtype=np.float32), back)
