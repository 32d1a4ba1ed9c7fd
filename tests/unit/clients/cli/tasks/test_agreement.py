"""What a party is shown before it signs."""

from __future__ import annotations

from clients.cli.tasks.agreement import describe
from policies.wire.contract import Contract
from tests.samples import contract_json


def test_a_party_sees_which_metrics_of_its_data_leave() -> None:
    document = contract_json()
    grant = {"metrics": ["dice_score", "mse"], "epsilon": 0.5}
    document["constraints"]["metricsOnPrivateData"] = "noised"
    document["constraints"]["privacy"][0]["privateMetrics"] = grant
    text = describe(Contract.from_json(document), {})
    assert "metrics of it leave with noise: dice_score, mse, for at most ε 0.5 of a run" in text
    assert "no metric of it leaves the clean room" in text


def test_a_party_sees_that_no_metric_leaves() -> None:
    text = describe(Contract.from_json(contract_json()), {})
    assert text.count("no metric of it leaves the clean room") == 2
