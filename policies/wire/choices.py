"""The closed lists that a contract grants from and a pipeline chooses from."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import AfterValidator

ModelKind = Literal["unet2d", "unet3d", "cnn", "mlp", "onnx", "graph"]
LossName = Literal[
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "Exp",
    "FocalLoss",
    "L1Loss",
    "MSELoss",
    "SmoothL1Loss",
]
"""What a loss, or a component of a composed loss, says as its `class`."""
Metric = Literal[
    "dice_score",
    "jaccard_index",
    "accuracy",
    "f1_score",
    "precision",
    "recall",
    "confusion_matrix",
    "roc_auc",
    "classification_report",
    "precision_recall_curve",
    "roc_curve",
    "hausdorff_distance",
    "mse",
    "mae",
    "rmse",
    "r2_score",
]
"""What a consumer may compute of its own public test data."""
OutputFormat = Literal["safetensors", "onnx"]


def _each_once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("names something twice")
    return values


Once: Final = AfterValidator(_each_once)
"""Refuses a list that names something twice."""
