"""Runs a trained network on public data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import nn

from trainer.data.units import UnitDataset
from trainer.metrics.classes import Classes
from trainer.metrics.masks import Case, Mask
from trainer.models.described import DescribedNetwork
from trainer.windows import Shape, windowed

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


def masks(model: nn.Module, inputs: NDArray[np.float32], *, threshold: float) -> Mask:
    """Return where the probability is at least `threshold`, `[n, channels, height, width]`."""
    return _masks(model, logits(model, inputs), threshold)


def volume_masks(
    model: nn.Module, inputs: NDArray[np.float32], *, threshold: float, patch: Shape
) -> Mask:
    """Return the same for volumes `[n, channels, depth, height, width]`, window by window."""
    return _masks(model, _windowed(model, inputs, patch), threshold)


def probability(model: nn.Module, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities that the outputs of a network mean."""
    wide = outputs.astype(np.float64)
    # In place: of a volume these are many numbers.
    return wide if _gives_probabilities(model) else np.asarray(expit(wide, out=wide))


@dataclass(frozen=True)
class PatientFound:
    """What a network says of one patient, all slices together."""

    found: Mask
    probability: NDArray[np.float64]
    """Of each pixel, to be in the mask."""
    truth: Mask


def patients(
    model: nn.Module, units: UnitDataset, *, threshold: float, patch: Shape | None = None
) -> Iterator[PatientFound]:
    """Yield what is found of every patient; with a patch, window by window."""
    for index in range(len(units)):
        # What a patient's numbers were made from is not kept while they are looked at.
        yield _patient(model, units, index, threshold=threshold, patch=patch)


def _patient(
    model: nn.Module, units: UnitDataset, index: int, *, threshold: float, patch: Shape | None
) -> PatientFound:
    inputs, truth = units.unit(index)
    outputs = logits(model, inputs) if patch is None else _windowed(model, inputs, patch)
    return PatientFound(
        found=_masks(model, outputs, threshold),
        probability=probability(model, outputs),
        truth=np.asarray(truth) > 0,
    )


def cases(model: nn.Module, units: UnitDataset, *, threshold: float) -> Iterator[Case]:
    """Yield prediction and truth of every patient, all slices together."""
    for patient in patients(model, units, threshold=threshold):
        yield patient.found, patient.truth


@dataclass(frozen=True)
class ClassesFound:
    """What a network says of all samples of all units."""

    found: Classes
    probabilities: NDArray[np.float64]
    """Of each sample, a row: the softmax of what the network gives, as the loss takes it."""
    truth: Classes


def samples(model: nn.Module, units: UnitDataset) -> ClassesFound:
    """Return what is found of all samples of all units."""
    given = [units.unit(index) for index in range(len(units))]
    outputs = logits(model, np.concatenate([inputs for inputs, _ in given]))
    truth = np.concatenate([np.asarray(targets) for _, targets in given])
    return ClassesFound(
        found=outputs.argmax(axis=1).astype(np.int64),
        probabilities=softmax(outputs.astype(np.float64), axis=1),
        truth=truth.astype(np.int64),
    )


def classes(model: nn.Module, units: UnitDataset) -> tuple[Classes, Classes]:
    """Return found and true classes of all samples of all units."""
    every = samples(model, units)
    return every.found, every.truth


def _windowed(model: nn.Module, inputs: NDArray[np.float32], patch: Shape) -> NDArray[np.float32]:
    if len(inputs) == 1:
        return windowed(model, inputs[0], patch=patch)[None]
    return np.stack([windowed(model, volume, patch=patch) for volume in inputs])


def _masks(model: nn.Module, outputs: NDArray[np.float32], threshold: float) -> Mask:
    if _gives_probabilities(model):
        return np.asarray(outputs >= np.float32(threshold))
    # The threshold is moved to the logits: the sigmoid is monotone.
    edge = np.float32(np.log(threshold / (1 - threshold)))
    found: Mask = outputs >= edge
    return found


def _gives_probabilities(model: nn.Module) -> bool:
    return isinstance(model, DescribedNetwork) and model.gives_probabilities
