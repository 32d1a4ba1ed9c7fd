"""Draw what was measured. Drawing belongs to an extra; measuring works without it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from clients.cli.tasks.evaluation import Figure as Measured
from policies.wire.choices import Metric
from trainer.data.units import UnitDataset
from trainer.predict import masks, volume_masks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS, _ROWS = 6, 2
_MAX_LABELS = 20
"""Classes whose names still fit into a picture."""
_AXES: Mapping[str, tuple[str, str]] = {
    "roc_curve": ("false_positive_rate", "true_positive_rate"),
    "precision_recall_curve": ("recall", "precision"),
}


def can_draw() -> bool:
    """Return whether the library that draws is installed."""
    return find_spec("matplotlib") is not None


def draw_metrics(measured: Mapping[Metric, Measured], *, folder: Path) -> tuple[str, ...]:
    """Draw curves and the confusion matrix, and return the names of the PNG files."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = []
    for metric, found in measured.items():
        if metric not in (*_AXES, "confusion_matrix") or not found.value:
            continue
        figure = Figure(figsize=(5, 4.5), layout="tight")
        axes = figure.add_subplot()
        if metric == "confusion_matrix":
            _draw_matrix(axes, np.asarray(found.value))
        else:
            _draw_curves(axes, found.value, *_AXES[metric])
        axes.set_title(metric.replace("_", " "))
        figure.savefig(folder / f"{metric}.png", dpi=110)
        drawn.append(f"{metric}.png")
    return tuple(drawn)


def draw_masks(
    model: nn.Module,
    units: UnitDataset,
    *,
    threshold: float,
    png: Path,
    patch: tuple[int, ...] | None = None,
) -> None:
    """Draw test patients' fullest slices with true (green) and found (red) outlines."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    count = min(len(units), _COLUMNS * _ROWS)
    rows = -(-count // _COLUMNS)
    figure = Figure(figsize=(2 * _COLUMNS, 2.2 * rows), layout="tight")
    for place, index in enumerate(np.linspace(0, len(units) - 1, count).astype(int)):
        images, truth = units.unit(int(index))
        # The first channel of every slice; the slices of a volume lie along its depth.
        slices, true = (images[:, 0], truth[:, 0]) if patch is None else (images[0, 0], truth[0, 0])
        level = int(np.argmax(np.asarray(true).sum(axis=(1, 2))))
        found = (
            masks(model, images[level : level + 1], threshold=threshold)[0, 0]
            if patch is None
            else volume_masks(model, images, threshold=threshold, patch=patch)[0, 0, level]
        )
        axes = figure.add_subplot(rows, _COLUMNS, place + 1)
        axes.imshow(slices[level], cmap="gray")
        for mask, colour in ((np.asarray(true)[level] > 0, "lime"), (found, "red")):
            if mask.any():
                axes.contour(mask, [0.5], colors=colour, linewidths=0.9)
        axes.axis("off")
    figure.suptitle("true outline green, found outline red")
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=90)


def _draw_curves(axes: Axes, curves: list[dict[str, Any]], x: str, y: str) -> None:
    for curve in curves:
        axes.plot(curve[x], curve[y], label=f"class {curve['class']}")
    if x == "false_positive_rate":
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=0.8)
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(0, 1), ylim=(0, 1.02))
    if len(curves) <= _MAX_LABELS:
        axes.legend(fontsize="small")


def _draw_matrix(axes: Axes, matrix: np.ndarray[Any, Any]) -> None:
    axes.imshow(matrix, cmap="Blues")
    axes.set(xlabel="found class", ylabel="true class")
    if len(matrix) > _MAX_LABELS:
        return
    axes.set_xticks(range(len(matrix)))
    axes.set_yticks(range(len(matrix)))
    middle = matrix.max() / 2
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if count > middle else "black"
        axes.text(
            column, row, str(count), ha="center", va="center", color=colour, fontsize="x-small"
        )
