"""What a trained network finds in a scan, on the scan's own voxels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import nn

from policies.wire.datasets import SlicesDataset, VolumesDataset
from policies.wire.pipeline import TrainDlConfig
from trainer.data.errors import DataError
from trainer.data.grid import Image
from trainer.data.preprocess import Recipe
from trainer.data.ready import make_ready
from trainer.data.recipes import AnyRecipe
from trainer.data.volumes import Scan
from trainer.metrics.masks import Mask
from trainer.predict import logits, probability
from trainer.windows import OVERLAP, count_windows, windowed

_SLICES_AT_ONCE: Final = 16

OnParts = Callable[[int, int], None]
"""Told how many slices or windows of a scan are done, and how many there are."""


@dataclass(frozen=True)
class Segmenter:
    """A network with what it has to know to look at a scan.

    Raises:
        DataError: when the stage finds no masks, or the recipe does not make its samples.
    """

    model: nn.Module
    stage: TrainDlConfig
    """The stage that trained it."""
    recipe: AnyRecipe
    """How its training data was prepared."""
    overlap: float = OVERLAP
    """Of the windows that a volume is seen through."""

    def __post_init__(self) -> None:
        dataset, recipe = self.stage.dataset, self.recipe
        if not isinstance(dataset, SlicesDataset | VolumesDataset):
            raise DataError(f"the model is for {dataset.kind}: it finds nothing in scans")
        takes = _words(dataset.channels, getattr(dataset, "size", None))
        makes = _words(recipe.scale.channels, recipe.size if isinstance(recipe, Recipe) else None)
        if takes != makes:
            raise DataError(
                f"the recipe makes {makes}, the model takes {takes}",
                hint="name a folder that was prepared as the training data was",
            )

    def find(self, scan: Scan, *, on_parts: OnParts = lambda _done, _all: None) -> Mask:
        """Return where something is found, `[K, X, Y, Z]`, upright.

        Raises:
            VolumeRefused: when the scan cannot be prepared.
        """
        ready = make_ready(scan, recipe=self.recipe)
        outputs = self._outputs(ready.inputs, on_parts)
        likely = probability(self.model, outputs).astype(np.float32)
        return np.asarray(ready.back(likely) >= np.float32(self.stage.threshold))

    def _outputs(self, inputs: Image, on_parts: OnParts) -> Image:
        dataset, done = self.stage.dataset, 0
        if isinstance(dataset, VolumesDataset):
            patch, overlap = dataset.patch, self.overlap
            every = count_windows(inputs.shape[2:], patch=patch, overlap=overlap)

            def on_windows(count: int) -> None:
                nonlocal done
                done += count
                on_parts(done, every)

            found = windowed(
                self.model, inputs[0], patch=patch, overlap=overlap, on_windows=on_windows
            )
            return found[None]
        parts = []
        for start in range(0, len(inputs), _SLICES_AT_ONCE):
            parts.append(logits(self.model, inputs[start : start + _SLICES_AT_ONCE]))
            done += len(parts[-1])
            on_parts(done, len(inputs))
        return np.concatenate(parts)


def _words(channels: int, size: tuple[int, int] | None) -> str:
    sides = "volumes" if size is None else f"slices of {size[0]}x{size[1]}"
    return f"{sides} with {channels} channels"
