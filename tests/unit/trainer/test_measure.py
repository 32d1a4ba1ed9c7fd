"""Metrics of private data are those of public data plus noise, and nothing without a plan."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from clients.cli.tasks.evaluation import measure
from policies import accounting
from policies.accounting import PrivacyPlan
from policies.wire.pipeline import TrainDlConfig
from policies.wire.private_metrics import PrivateMetricsReport
from tests.training import Blobs, train_config
from trainer.measure import measure_privately
from trainer.models.factory import build_model
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream

MASKS = ["dice_score", "jaccard_index", "precision", "recall", "mse", "mae", "rmse"]
CLASSES = [
    "accuracy",
    "f1_score",
    "precision",
    "recall",
    "confusion_matrix",
    "classification_report",
    "mse",
    "mae",
]
BLOBS = Blobs(count=12)


class Digits:
    """Vectors of eight numbers with a class of three, one sample a unit."""

    def __len__(self) -> int:
        return 150

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng([3, index])
        truth = index % 3
        inputs = rng.standard_normal((1, 8)).astype(np.float32)
        inputs[0, truth] += 1.5
        return inputs, np.array([truth])


def asking(private: list[str], *, epsilon: float = 1.0, **changes: Any) -> TrainDlConfig:
    return train_config(privateMetrics={"metrics": private, "epsilon": epsilon}, **changes)


def of_classes(metrics: list[str]) -> TrainDlConfig:
    return asking(
        metrics,
        model={"kind": "mlp", "inputs": 8, "classes": 3},
        baseWeights=None,
        dataset={"kind": "arrays", "shape": [8], "classes": 3},
        loss={"class": "CrossEntropyLoss", "params": {}},
        metrics=["accuracy"],
        taskType="classification",
    )


def paid(config: TrainDlConfig, *, units: int, noise: float | None = None) -> PrivacyPlan:
    agreed = accounting.plan_training(config, units=units)
    return agreed if noise is None else replace(agreed, metrics_noise=noise)


def network(config: TrainDlConfig) -> nn.Module:
    torch.manual_seed(2)
    return build_model(config.model, base=None)


def measured(
    config: TrainDlConfig, units: Any, *, noise: float | None = None, seed: int | None = None
) -> PrivateMetricsReport:
    return measure_privately(
        network(config),
        units,
        config,
        agreed=paid(config, units=len(units), noise=noise),
        stream=SecureStream() if seed is None else UnsafeSeededStream(seed),
    )


@pytest.mark.parametrize("metrics", [[metric] for metric in MASKS] + [MASKS])
def test_with_next_to_no_noise_masks_score_what_they_score_in_public(metrics: list[str]) -> None:
    config = asking(metrics, metrics=metrics)
    public = measure(network(config), BLOBS, config=config)
    found = measured(config, BLOBS, noise=1e-5).figures
    assert list(found) == metrics
    for metric in config.metrics:
        assert found[metric].value == pytest.approx(public[metric].value, abs=1e-3)
        assert found[metric].counted == pytest.approx(public[metric].counts["counted"], abs=0.01)


@pytest.mark.parametrize("metrics", [[metric] for metric in CLASSES] + [CLASSES])
def test_with_next_to_no_noise_classes_score_what_they_score_in_public(metrics: list[str]) -> None:
    config = of_classes(metrics).model_copy(update={"metrics": tuple(metrics)})
    public = measure(network(config), Digits(), config=config)
    found = measured(config, Digits(), noise=1e-5).figures
    for metric in config.metrics:
        value = public[metric].value
        if metric == "confusion_matrix":
            assert np.asarray(found[metric].value) == pytest.approx(np.asarray(value), abs=0.02)
        elif metric == "classification_report":
            got = found[metric].value["classes"]["1"]["f1_score"]
            assert got == pytest.approx(value["classes"]["1"]["f1_score"], abs=1e-3)
        else:
            assert found[metric].value == pytest.approx(value, abs=1e-3)


def test_figures_scatter_by_what_they_say() -> None:
    config = of_classes(["accuracy", "mse"])
    reports = [measured(config, Digits(), noise=4.0, seed=seed) for seed in range(24)]
    for metric in ("accuracy", "mse"):
        values = [report.figures[metric].value for report in reports]
        told = np.median([report.figures[metric].deviation for report in reports])
        assert np.std(values) == pytest.approx(told, rel=0.5)


def test_what_noise_hides_has_no_value() -> None:
    report = measured(asking(MASKS), BLOBS, noise=1000.0)
    # A count may be drawn far above the truth, but not three deviations of all of them.
    assert any(figure.value is None for figure in report.figures.values())
    assert PrivateMetricsReport.parse(report.canonical()) == report


def test_the_report_says_what_was_paid() -> None:
    config = asking(["dice_score"], epsilon=0.5)
    agreed = paid(config, units=12)
    report = measured(config, BLOBS)
    assert (report.epsilon, report.delta, report.unit) == (0.5, 0.001, "patient")
    assert report.noise_multiplier == agreed.metrics_noise
    event = accounting.event_to_json(agreed.event)
    assert event["class_name"] == "ComposedDpEvent"
    assert event["events"][1]["noise_multiplier"] == report.noise_multiplier
    assert "training units" in json.dumps(report.to_json())


def test_two_reports_of_one_model_are_never_the_same() -> None:
    config = asking(["mse"])
    one, other = (measured(config, BLOBS).figures["mse"].value for _ in range(2))
    assert one != other


def test_without_a_plan_that_paid_for_them_there_are_no_metrics() -> None:
    config = asking(["dice_score"])
    unpaid = replace(paid(config, units=12), metrics_noise=None)
    with pytest.raises(ValueError, match="asked and paid for"):
        measure_privately(network(config), BLOBS, config, agreed=unpaid, stream=SecureStream())


def test_metrics_that_nobody_asked_for_are_not_computed() -> None:
    config = train_config()
    agreed = replace(paid(config, units=12), metrics_noise=1.0)
    with pytest.raises(ValueError, match="asked and paid for"):
        measure_privately(network(config), BLOBS, config, agreed=agreed, stream=SecureStream())


@pytest.mark.parametrize("config", [asking(MASKS), of_classes(CLASSES)], ids=["masks", "classes"])
def test_a_network_without_numbers_is_told_by_noise_alone(config: TrainDlConfig) -> None:
    units: Any = BLOBS if config.task_type == "segmentation" else Digits()
    model = network(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    report = measure_privately(
        model, units, config, agreed=paid(config, units=len(units)), stream=SecureStream()
    )
    assert all(
        figure.value is None or figure.counted < len(units) for figure in report.figures.values()
    )


def test_nothing_is_logged_or_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        measured(asking(MASKS), BLOBS)
    assert capsys.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.startswith("trainer")]
