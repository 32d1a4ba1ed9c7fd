"""What is found exactly has the best value of every metric, and what is found wrongly the worst."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from clients.cli.tasks.evaluation import measure
from policies.wire.pipeline import TrainDlConfig
from tests.training import Blobs, Volumes, train_config
from tests.unit.clients.cli.tasks.test_measuring import OF_CLASSES, OF_MASKS, of_classes

ERRORS = {"mse", "mae", "rmse", "hausdorff_distance"}
VOLUMES: dict[str, Any] = {
    "model": {"kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2},
    "dataset": {"kind": "volumes", "patch": [4, 8, 8], "channels": 1, "classes": 1},
}


class Sure(nn.Module):
    """Takes its input for the truth, or for the contrary, and is sure of it."""

    def __init__(self, *, right: bool = True) -> None:
        super().__init__()
        self.scale = 1e4 if right else -1e4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.5) * self.scale


class Masks:
    """Units whose picture is their mask."""

    def __init__(self, units: Blobs | Volumes) -> None:
        self._units = units

    def __len__(self) -> int:
        return len(self._units)

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        _, mask = self._units.unit(index)
        return mask, mask


class Labels:
    """Samples of four classes whose input is the class."""

    def __len__(self) -> int:
        return 80

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        truth = index * 7 % 4
        return np.eye(4, dtype=np.float32)[truth][None], np.array([truth])


def of_masks(kind: str) -> tuple[TrainDlConfig, Masks]:
    shape = VOLUMES if kind == "volumes" else {}
    units = Volumes() if kind == "volumes" else Blobs()
    return train_config(metrics=list(OF_MASKS), baseWeights=None, **shape), Masks(units)


@pytest.mark.parametrize("kind", ["slices", "volumes"])
def test_a_perfect_mask_has_the_best_value_of_every_metric(kind: str) -> None:
    config, units = of_masks(kind)
    found = measure(Sure(), units, config=config)
    assert tuple(found) == OF_MASKS
    for metric, figure in found.items():
        assert figure.value == (0.0 if metric in ERRORS else 1.0), metric
        assert figure.counts["counted"] == len(units)
        assert figure.counts["ignored"] == 0


@pytest.mark.parametrize("kind", ["slices", "volumes"])
def test_a_mask_that_is_wrong_everywhere_has_the_worst_value(kind: str) -> None:
    config, units = of_masks(kind)
    found = measure(Sure(right=False), units, config=config)
    for metric in ("dice_score", "jaccard_index", "precision", "recall"):
        assert found[metric].value == 0.0
    for metric in ("mse", "mae", "rmse"):
        assert found[metric].value == 1.0
    assert found["hausdorff_distance"].value >= 1
    assert found["r2_score"].value < 0


def test_classes_that_are_all_right_have_the_best_value_of_every_metric() -> None:
    found = measure(Sure(), Labels(), config=of_classes(*OF_CLASSES, classes=4))
    assert tuple(found) == OF_CLASSES
    for metric in ("accuracy", "f1_score", "precision", "recall", "roc_auc", "r2_score"):
        assert found[metric].value == 1.0, metric
    for metric in ("mse", "mae", "rmse"):
        assert found[metric].value == 0.0, metric
    assert found["confusion_matrix"].value == (20 * np.eye(4, dtype=int)).tolist()
    assert all(
        row["f1_score"] == 1 for row in found["classification_report"].value["classes"].values()
    )
    for curve in found["roc_curve"].value:
        at = curve["false_positive_rate"].index(0.0)
        assert 1.0 in curve["true_positive_rate"]
        assert max(np.diff(curve["false_positive_rate"][at:]), default=0) >= 0
        assert (0.0, 1.0) in zip(
            curve["false_positive_rate"], curve["true_positive_rate"], strict=True
        )
    for curve in found["precision_recall_curve"].value:
        assert (1.0, 1.0) in zip(curve["recall"], curve["precision"], strict=True)
