"""Measure a fetched model on public test data."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from policies.wire.choices import Metric
from policies.wire.datasets import SlicesDataset, VolumesDataset, patch_of
from policies.wire.pipeline import TrainDlConfig
from trainer.data.units import UnitDataset
from trainer.data.volume_set import VolumeDataset
from trainer.metrics.classes import (
    ClassReport,
    classification,
    classification_report,
    confusion_matrix,
)
from trainer.metrics.curves import Curve, precision_recall_curves, roc_auc, roc_curves
from trainer.metrics.deviations import by_class, deviation, mean_deviation
from trainer.metrics.distance import case_distance, volume_distance
from trainer.metrics.masks import case_overlap
from trainer.metrics.scores import Score, mean_score
from trainer.predict import ClassesFound, PatientFound, patients, samples

_CURVE_POINTS = 20_000
"""Of all curves of a metric together."""
_FEWEST_POINTS = 16


@dataclass(frozen=True)
class Figure:
    """What a metric came to, as JSON: a number, or None where there was nothing to count."""

    value: Any
    counts: Mapping[str, int]
    """Over how many cases or classes a mean runs, and how many had no value."""


def measure(
    model: nn.Module, units: UnitDataset, *, config: TrainDlConfig
) -> Mapping[Metric, Figure]:
    """Return the pipeline's metrics; of masks they are means over patients.

    Raises:
        ValueError: if the test data is not of the pipeline's kind, or the model gives no numbers.
    """
    if isinstance(config.dataset, SlicesDataset | VolumesDataset):
        patch = patch_of(config.dataset)
        every = patients(model, units, threshold=config.threshold, patch=patch)
        spacing = units.spacing if isinstance(units, VolumeDataset) else None
        return _of_masks(every, config.metrics, spacing=spacing)
    found = samples(model, units)
    count = config.dataset.classes
    return {metric: _of_classes(metric, found, count=count) for metric in config.metrics}


def _of_masks(
    every: Iterable[PatientFound],
    metrics: Iterable[Metric],
    *,
    spacing: tuple[float, float, float] | None,
) -> Mapping[Metric, Figure]:
    values: dict[Metric, list[float]] = {metric: [] for metric in metrics}
    counts: dict[Metric, dict[str, int]] = defaultdict(dict)
    for patient in every:
        for metric, found in values.items():
            match metric:
                case "dice_score" | "jaccard_index" | "precision" | "recall":
                    found.append(case_overlap(metric, patient.found, patient.truth))
                case "mse" | "mae" | "rmse" | "r2_score":
                    truth = patient.truth.astype(float)
                    found.append(deviation(metric, patient.probability, truth))
                case "hausdorff_distance" if patient.found.ndim == 4:
                    distance = case_distance(patient.found, patient.truth)
                    found.append(distance.value)
                    slices = counts[metric].get("ignored_slices", 0)
                    counts[metric]["ignored_slices"] = slices + distance.ignored_slices
                case "hausdorff_distance":
                    found.append(volume_distance(patient.found, patient.truth, spacing=spacing))
                case _:
                    raise ValueError(f"expected a metric of masks, got {metric}")
    return {metric: _mean(mean_score(found), **counts[metric]) for metric, found in values.items()}


def _of_classes(  # noqa: PLR0911 - one case a metric
    metric: Metric, every: ClassesFound, *, count: int
) -> Figure:
    matrix = confusion_matrix(every.found, every.truth, classes=count)
    match metric:
        case "accuracy" | "f1_score" | "precision" | "recall":
            return _mean(classification(metric, matrix))
        case "confusion_matrix":
            return Figure(matrix.tolist(), {"counted": len(every.truth)})
        case "classification_report":
            return _report(classification_report(matrix))
        case "roc_auc":
            return _mean(roc_auc(every.probabilities, every.truth))
        case "roc_curve":
            return _curves(
                roc_curves(every.probabilities, every.truth),
                x="false_positive_rate",
                y="true_positive_rate",
            )
        case "precision_recall_curve":
            curves = precision_recall_curves(every.probabilities, every.truth)
            return _curves(curves, x="recall", y="precision")
        case "mse" | "mae" | "rmse" | "r2_score":
            return _mean(mean_deviation(metric, by_class(every.probabilities, every.truth)))
        case _:
            raise ValueError(f"expected a metric of classes, got {metric}")


def _mean(score: Score, **more: int) -> Figure:
    return Figure(
        _number(score.value), {"counted": score.counted, "ignored": score.ignored, **more}
    )


def _report(report: ClassReport) -> Figure:
    value = asdict(report)
    value["classes"] = {str(number): row for number, row in value["classes"].items()}
    return Figure(value, {"counted": report.macro.support})


def _curves(curves: Mapping[int, Curve | None], *, x: str, y: str) -> Figure:
    drawn = {number: curve for number, curve in curves.items() if curve is not None}
    points = max(_FEWEST_POINTS, _CURVE_POINTS // max(1, len(drawn)))
    value = []
    for number, whole in drawn.items():
        curve = whole.thinned(points)
        value.append(
            {
                "class": number,
                x: curve.x.tolist(),
                y: curve.y.tolist(),
                "thresholds": [_number(threshold) for threshold in curve.thresholds.tolist()],
            }
        )
    return Figure(value, {"counted": len(drawn), "ignored": len(curves) - len(drawn)})


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
