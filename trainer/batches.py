"""Puts the samples of the drawn units together, randomly changed if the pipeline asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from policies.wire.datasets import VolumesDataset
from policies.wire.pipeline import Augmentation, TrainDlConfig
from trainer.data.units import UnitDataset
from trainer.patches import draw_patches
from trainer.privacy.csprng import SecureStream
from trainer.privacy.engine import UnitBatch
from trainer.privacy.sampling import draw_samples

_T = TypeVar("_T", bound=np.generic)


def assemble(
    units: UnitDataset,
    chosen: NDArray[np.int64],
    *,
    config: TrainDlConfig,
    stream: SecureStream,
) -> UnitBatch | None:
    """Return the batch of the chosen units, or None if there are none.

    What a unit contributes depends on that unit and the stream only.
    """
    inputs, targets, counts = [], [], []
    for index in chosen:
        samples = list(_samples(units, int(index), config=config, stream=stream))
        for image, truth in samples:
            if config.augmentation is not None:
                image, truth = _change(image, truth, config.augmentation, stream)  # noqa: PLW2901
            inputs.append(image)
            targets.append(truth)
        counts.append(len(samples))
    if not counts:
        return None
    return UnitBatch(
        inputs=torch.from_numpy(np.stack(inputs)),
        targets=torch.from_numpy(np.stack(targets)),
        owner=torch.repeat_interleave(torch.tensor(counts)),
        units=len(counts),
    )


def _samples(
    units: UnitDataset, index: int, *, config: TrainDlConfig, stream: SecureStream
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.generic]]]:
    """Yield the samples that one unit contributes to a step."""
    images, truths = units.unit(index)
    if isinstance(config.dataset, VolumesDataset):
        count = config.samples_per_unit
        yield from draw_patches(
            images[0], np.asarray(truths[0]), config=config.dataset, count=count, stream=stream
        )
        return
    wanted = config.samples_per_unit
    if config.augmentation is None:
        # A sample twice in one mean says nothing new.
        wanted = min(wanted, len(images))
    for sample in draw_samples(stream, available=len(images), wanted=wanted):
        yield images[sample], truths[sample]


def _change(
    image: NDArray[np.float32],
    truth: NDArray[np.generic],
    config: Augmentation,
    stream: SecureStream,
) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Flip and shift image and mask `[channels, ..., height, width]` alike; brighten the image."""
    flips, down, right, contrast, brightness = stream.integers(5, below=2**31).tolist()
    flip_rows = config.flip in ("vertical", "both") and bool(flips & 1)
    flip_columns = config.flip in ("horizontal", "both") and bool(flips & 2)
    span = 2 * config.max_shift + 1
    shift = (down % span - config.max_shift, right % span - config.max_shift)

    if config.intensity is not None:
        scale, offset = (
            np.float32(config.intensity * (2 * number / 2**31 - 1))
            for number in (contrast, brightness)
        )
        image = image * (1 + scale) + offset

    def changed(array: NDArray[_T]) -> NDArray[_T]:
        array = array[..., ::-1, :] if flip_rows else array
        array = array[..., ::-1] if flip_columns else array
        return _shifted(array, *shift)

    return changed(image), changed(np.asarray(truth))


def _shifted(array: NDArray[_T], down: int, right: int) -> NDArray[_T]:
    height, width = array.shape[-2:]
    out = np.zeros_like(array)
    rows = slice(max(down, 0), height + min(down, 0))
    columns = slice(max(right, 0), width + min(right, 0))
    from_rows = slice(max(-down, 0), height + min(-down, 0))
    from_columns = slice(max(-right, 0), width + min(-right, 0))
    out[..., rows, columns] = array[..., from_rows, from_columns]
    return out
