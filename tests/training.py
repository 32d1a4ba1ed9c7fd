"""A small training stage and small sets of units, for tests to bend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.wire.pipeline import TrainDlConfig


def train_json(**changes: Any) -> dict[str, Any]:
    """Return a training stage that is right in every field, with some fields replaced."""
    stage: dict[str, Any] = {
        "input": "mri-a",
        "model": {
            "kind": "unet2d",
            "inChannels": 1,
            "outChannels": 1,
            "levels": 2,
            "channels": 4,
            "groups": 2,
        },
        "baseWeights": "base",
        "dataset": {"kind": "slices", "size": [8, 8], "channels": 1, "classes": 1},
        "loss": {"class": "BCEWithLogitsLoss", "params": {}},
        "optimizer": {"name": "Adam", "params": {"lr": 0.01}},
        "scheduler": None,
        "steps": 4,
        "batchSize": 4,
        "samplesPerUnit": 2,
        "averaging": None,
        "isPrivate": True,
        "privacyParams": {
            "epsilon": 4.0,
            "delta": 0.001,
            "maxGradNorm": 0.5,
            "unit": "patient",
            "adjacency": "add-remove",
        },
        "metrics": ["dice_score"],
        "taskType": "segmentation",
        "output": "safetensors",
    }
    return {key: value for key, value in {**stage, **changes}.items() if value is not None}


def train_config(**changes: Any) -> TrainDlConfig:
    """Return the stage as the trainer reads it."""
    text = json.dumps(train_json(**changes))
    return TrainDlConfig.model_validate_json(text, by_alias=True, by_name=False)


@dataclass
class Blobs:
    """Units with a bright square that is the mask; unit i has 1 + i % 3 samples."""

    count: int = 12
    side: int = 8
    seed: int = 5

    def __len__(self) -> int:
        return self.count

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([self.seed, index])
        samples = 1 + index % 3
        mask = np.zeros((samples, 1, self.side, self.side), dtype=np.float32)
        for sample in range(samples):
            top, left = rng.integers(0, self.side - 3, 2)
            mask[sample, 0, top : top + 3, left : left + 3] = 1.0
        noise = rng.standard_normal(mask.shape).astype(np.float32)
        return mask * 2 + 0.3 * noise, mask


@dataclass
class Volumes:
    """Patients with one volume each, of several sizes, with a bright box that is the mask."""

    count: int = 12
    channels: int = 2
    seed: int = 5

    def __len__(self) -> int:
        return self.count

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([self.seed, index])
        sides = (5 + index % 3, 9 + index % 2, 8 + index % 5)
        mask = np.zeros((1, 1, *sides), dtype=np.float32)
        mask[..., 1:3, 2:5, 3:6] = 1.0
        noise = rng.standard_normal((1, self.channels, *sides)).astype(np.float32)
        return mask * 2 + 0.3 * noise, mask
