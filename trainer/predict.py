"""Runs a trained network on public data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.data.units import UnitDataset
from trainer.metrics import Case
from trainer.models.described import DescribedNetwork

_BATCH: Final = 64


@torch.no_grad()
def logits(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the network's outputs for `[n, ...]` inputs: logits, or what a graph says it gives."""
    model.eval()
    parts = [
        model(torch.from_numpy(inputs[start : start + _BATCH])).numpy()
        for start in range(0, len(inputs), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)


def masks(model: nn.Module, inputs: NDArray[np.float32], *, threshold: float) -> NDArray[np.bool_]:
    """Return where the probability is at least `threshold`, `[n, channels, height, width]`."""
    outputs = logits(model, inputs)
    if isinstance(model, DescribedNetwork) and model.gives_probabilities:
        return np.asarray(outputs >= np.float32(threshold))
    # The threshold is moved to the logits: the sigmoid is monotone.
    edge = np.float32(np.log(threshold / (1 - threshold)))
    found: NDArray[np.bool_] = outputs >= edge
    return found


def cases(model: nn.Module, units: UnitDataset, *, threshold: float) -> Iterator[Case]:
    """Yield prediction and truth of every patient, all slices together."""
    for index in range(len(units)):
        inputs, truth = units.unit(index)
        yield masks(model, inputs, threshold=threshold), np.asarray(truth) > 0


def classes(model: nn.Module, units: UnitDataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return found and true classes of all samples of all units."""
    samples = [units.unit(index) for index in range(len(units))]
    inputs = np.concatenate([inputs for inputs, _ in samples])
    truth = np.concatenate([np.asarray(targets) for _, targets in samples])
    return logits(model, inputs).argmax(axis=1).astype(np.int64), truth.astype(np.int64)
