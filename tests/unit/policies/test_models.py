"""Networks by numbers before the policy: each kind is granted by name, and weights are counted."""

from __future__ import annotations

from typing import Any

import pytest

from policies.decide import Policy
from policies.facts import BudgetAfter, TrainingFacts, training_facts
from policies.parameters import most_parameters
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from tests.samples import pipeline_json
from tests.unit.policies.good import charges, contract, contract_case, contract_document

MASKS = {"inChannels": 1, "outChannels": 1, "levels": 2, "channels": 4}
VOLUMES = {"dataset": {"kind": "volumes", "patch": [8, 16, 16]}}
ARRAYS = {
    "dataset": {"kind": "arrays", "shape": [1, 8, 8], "classes": 2},
    "taskType": "classification",
    "metrics": ["accuracy"],
    "loss": {"class": "CrossEntropyLoss"},
}
STAGES: dict[str, dict[str, Any]] = {
    "unet2d": {"model": {"kind": "unet2d", **MASKS, "blocks": "residual", "supervision": "deep"}},
    "unet3d": {"model": {"kind": "unet3d", **MASKS, "norm": "instance"}, **VOLUMES},
    "cnn": {
        "model": {
            "kind": "cnn",
            "shape": [1, 8, 8],
            "convolutions": [{"channels": 4}],
            "classes": 2,
        },
        **ARRAYS,
    },
    "mlp": {"model": {"kind": "mlp", "inputs": 64, "hidden": [8], "classes": 2}, **ARRAYS},
}


def facts(kind: str, *, models: tuple[str, ...], most: int = 100_000) -> TrainingFacts:
    document = contract_document()
    limits = document["constraints"]
    limits |= {"models": list(models), "maxParameters": most}
    # Losses and metrics are not what is tried here.
    document["constraints"] = {k: v for k, v in limits.items() if k not in ("losses", "metrics")}
    agreed = contract(document)
    stage = {"steps": 100, "batchSize": 80, **STAGES[kind]}
    pipeline = Pipeline.from_json(pipeline_json(agreed.digest(), **stage))
    return training_facts(
        contract_case(agreed),
        pipeline,
        parameters=most_parameters(pipeline, agreed),
        charges=charges(pipeline, agreed),
        budgets=[BudgetAfter("mri-a", 8_000_000, 9), BudgetAfter("mri-b", 8_000_000, 9)],
    )


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


@pytest.mark.parametrize("kind", STAGES)
def test_a_kind_of_network_is_allowed_only_where_the_contract_names_it(
    policy: Policy, kind: str
) -> None:
    assert policy.training(facts(kind, models=(kind,))).allow
    others = tuple({"unet2d", "unet3d", "cnn", "mlp", "graph"} - {kind})
    assert codes(policy.training(facts(kind, models=others))) == ["MODEL_NOT_ALLOWED"]


@pytest.mark.parametrize("kind", STAGES)
def test_a_network_with_more_weights_than_granted_is_refused(policy: Policy, kind: str) -> None:
    asked = facts(kind, models=(kind,))
    weights = next(stage.parameters for stage in asked.pipeline.stages if hasattr(stage, "model"))
    assert policy.training(facts(kind, models=(kind,), most=weights)).allow
    refused = policy.training(facts(kind, models=(kind,), most=weights - 1))
    assert codes(refused) == ["PARAMETERS_EXCEEDED"]
