"""Measure a fetched model on public test data, and draw what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from policies.wire.pipeline import ArraysDataset, TrainDlConfig
from trainer.data.units import UnitDataset
from trainer.metrics import classification, confusion_matrix, overlap
from trainer.predict import cases, classes, masks

_COLUMNS, _ROWS = 6, 2
_OVERLAPS = frozenset({"dice_score", "jaccard_index", "precision", "recall"})


def measure(model: nn.Module, units: UnitDataset, *, config: TrainDlConfig) -> Mapping[str, object]:
    """Return the pipeline's metrics; of masks they are means over patients."""
    if isinstance(config.dataset, ArraysDataset):
        return _of_classes(model, units, config, count=config.dataset.classes)
    found = list(cases(model, units, threshold=config.threshold))
    return {
        metric: overlap(metric, found).value  # type: ignore[arg-type]  # narrowed by the set
        for metric in config.metrics
        if metric in _OVERLAPS
    }


def _of_classes(
    model: nn.Module, units: UnitDataset, config: TrainDlConfig, *, count: int
) -> Mapping[str, object]:
    found, truth = classes(model, units)
    matrix = confusion_matrix(found, truth, classes=count)
    values: dict[str, object] = {}
    for metric in config.metrics:
        match metric:
            case "confusion_matrix":
                values[metric] = matrix.tolist()
            case "accuracy" | "f1_score" | "precision" | "recall":
                values[metric] = classification(metric, matrix).value
    return values


def draw_masks(model: nn.Module, units: UnitDataset, *, threshold: float, png: Path) -> None:
    """Draw test patients' middle slices with true (green) and found (red) outlines."""
    # Drawing belongs to an extra; measuring works without it.
    from matplotlib.figure import Figure  # noqa: PLC0415

    count = min(len(units), _COLUMNS * _ROWS)
    rows = -(-count // _COLUMNS)
    figure = Figure(figsize=(2 * _COLUMNS, 2.2 * rows), layout="tight")
    for place, index in enumerate(np.linspace(0, len(units) - 1, count).astype(int)):
        images, truth = units.unit(int(index))
        level = int(np.argmax(np.asarray(truth).sum(axis=(1, 2, 3))))
        found = masks(model, images[level : level + 1], threshold=threshold)[0, 0]
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.imshow(images[level, 0], cmap="gray")
        for mask, colour in ((np.asarray(truth)[level, 0] > 0, "lime"), (found, "red")):
            if mask.any():
                axes.contour(mask, [0.5], colors=colour, linewidths=0.9)
        axes.axis("off")
    figure.suptitle("true outline green, found outline red")
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=90)
