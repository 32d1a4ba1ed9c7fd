"""Metrics of private data: what a contract grants, what a pipeline asks, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.errors import DocumentError
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.private_metrics import PrivateMetricsReport
from tests.samples import contract_json, pipeline_json

NEVER = ["hausdorff_distance", "roc_auc", "roc_curve", "precision_recall_curve", "r2_score"]
GRANT = {"metrics": ["dice_score"], "epsilon": 0.5}


def refused_contract(*, terms: str = "noised", **grant: Any) -> dict[str, str]:
    document = contract_json()
    document["constraints"]["metricsOnPrivateData"] = terms
    document["constraints"]["privacy"][0]["privateMetrics"] = {**GRANT, **grant}
    with pytest.raises(DocumentError) as caught:
        Contract.parse(json.dumps(document).encode())
    return {problem.pointer: problem.message for problem in caught.value.problems}


def refused_pipeline(**changes: Any) -> dict[str, str]:
    with pytest.raises(DocumentError) as caught:
        Pipeline.from_json(pipeline_json("sha256:" + "0" * 64, **changes))
    return {problem.pointer: problem.message for problem in caught.value.problems}


def classes(**changes: Any) -> dict[str, Any]:
    return {
        "model": {"kind": "mlp", "inputs": 8, "classes": 3},
        "dataset": {"kind": "arrays", "shape": [8], "classes": 3},
        "loss": {"class": "CrossEntropyLoss", "params": {}},
        "metrics": ["accuracy"],
        "taskType": "classification",
        **changes,
    }


def test_a_contract_grants_metrics_by_data_set() -> None:
    document = contract_json()
    document["constraints"]["metricsOnPrivateData"] = "noised"
    document["constraints"]["privacy"][0]["privateMetrics"] = GRANT
    contract = Contract.parse(json.dumps(document).encode())
    assert contract.constraints.privacy[0].private_metrics is not None
    assert contract.constraints.privacy[1].private_metrics is None
    assert contract.to_json() == document


def test_documents_without_private_metrics_say_nothing_of_them() -> None:
    contract = Contract.parse(json.dumps(contract_json()).encode())
    assert contract.to_json() == contract_json()
    pipeline = Pipeline.from_json(pipeline_json(contract.digest()))
    assert "privateMetrics" not in json.dumps(pipeline.to_json())


@pytest.mark.parametrize("metric", NEVER)
def test_what_cannot_be_noised_is_refused_by_name(metric: str) -> None:
    at = "/constraints/privacy/0/privateMetrics/metrics/1"
    message = refused_contract(metrics=["dice_score", metric])[at]
    assert message.startswith(f"{metric} cannot be released with noise: ")
    assert "dice_score" in message
    at = "/pipeline/1/config/privateMetrics/metrics/0"
    found = refused_pipeline(privateMetrics={"metrics": [metric], "epsilon": 0.1})[at]
    assert found.startswith(f"{metric} cannot be released with noise: ")


@pytest.mark.parametrize(
    ("grant", "at"),
    [
        ({"metrics": []}, "metrics"),
        ({"metrics": ["dice_score", "dice_score"]}, "metrics"),
        ({"metrics": ["loss"]}, "metrics/0"),
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": 0.1234567}, "epsilon"),
        ({"epsilon": 99.0}, "epsilon"),
        ({"delta": 0.1}, "delta"),
    ],
)
def test_a_grant_that_is_wrong_is_named(grant: dict[str, Any], at: str) -> None:
    assert f"/constraints/privacy/0/privateMetrics/{at}" in refused_contract(**grant)


def test_a_contract_does_not_grant_what_it_withholds() -> None:
    message = refused_contract(terms="withheld")["/constraints/metricsOnPrivateData"]
    assert message == "is withheld, but privateMetrics of mri-a grants some"


def test_a_contract_that_notes_metrics_grants_some() -> None:
    document = contract_json()
    document["constraints"]["metricsOnPrivateData"] = "noised"
    with pytest.raises(DocumentError, match="no data set grants privateMetrics"):
        Contract.parse(json.dumps(document).encode())


def test_there_is_no_way_to_release_metrics_without_noise() -> None:
    assert "/constraints/metricsOnPrivateData" in refused_contract(terms="released")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"privateMetrics": {"metrics": ["accuracy"], "epsilon": 0.1}},
            "do not fit taskType segmentation",
        ),
        ({"privateMetrics": {"metrics": ["mse"], "epsilon": 8.0}}, "leaves nothing to train with"),
        (
            {
                "privateMetrics": {"metrics": ["mse"], "epsilon": 0.1},
                "isPrivate": False,
                "privacyParams": None,
            },
            "privateMetrics is given but isPrivate is false",
        ),
        (
            classes(privateMetrics={"metrics": ["rmse"], "epsilon": 0.1}),
            "do not fit taskType classification",
        ),
        (
            classes(
                model={"kind": "mlp", "inputs": 8, "classes": 101},
                dataset={"kind": "arrays", "shape": [8], "classes": 101},
                privateMetrics={"metrics": ["accuracy", "recall"], "epsilon": 0.1},
            ),
            "up to 100 classes, the data has 101",
        ),
    ],
)
def test_a_stage_that_cannot_release_what_it_asks_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    assert any(message in found for found in refused_pipeline(**changes).values())


def test_a_report_without_a_figure_is_none() -> None:
    report = {
        "version": "1.0",
        "measured": "training units",
        "unit": "patient",
        "epsilon": 0.5,
        "delta": 0.001,
        "noiseMultiplier": 3.0,
        "figures": {"dice_score": {"value": 0.5, "deviation": 0.1, "counted": 12.0}},
    }
    assert PrivateMetricsReport.from_json(report).to_json() == report
    with pytest.raises(DocumentError, match="figures"):
        PrivateMetricsReport.from_json(report | {"figures": {}})
    with pytest.raises(DocumentError, match="noiseMultiplier"):
        PrivateMetricsReport.from_json(report | {"noiseMultiplier": 0.0})
