"""Described graphs before the policy: who allows them, and what a private run may not have."""

from __future__ import annotations

from typing import Any

from policies.decide import Policy
from policies.facts import BudgetAfter, TrainingFacts, training_facts
from policies.parameters import most_parameters
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from tests.described import graph_json, layer
from tests.samples import pipeline_json
from tests.unit.policies.good import charges, contract, contract_case, contract_document


def facts(
    model: dict[str, Any], *, models: tuple[str, ...] = ("graph",), most: int = 10_000
) -> TrainingFacts:
    document = contract_document()
    document["constraints"] |= {"models": list(models), "maxParameters": most}
    agreed = contract(document)
    pipeline = Pipeline.from_json(
        pipeline_json(agreed.digest(), model=model, steps=100, batchSize=80)
    )
    return training_facts(
        contract_case(agreed),
        pipeline,
        parameters=most_parameters(pipeline, agreed),
        charges=charges(pipeline, agreed),
        budgets=[BudgetAfter("mri-a", 8_000_000, 9), BudgetAfter("mri-b", 8_000_000, 9)],
    )


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def test_a_graph_is_allowed_where_the_contract_names_graphs(policy: Policy) -> None:
    assert policy.training(facts(graph_json())).allow
    assert codes(policy.training(facts(graph_json(), models=("unet2d", "onnx")))) == [
        "MODEL_NOT_ALLOWED"
    ]


def test_a_graph_with_more_weights_than_granted_is_refused(policy: Policy) -> None:
    assert codes(policy.training(facts(graph_json(), most=100))) == ["PARAMETERS_EXCEEDED"]


def test_a_layer_that_couples_a_batch_is_refused_by_its_name(policy: Policy) -> None:
    model = graph_json()
    model["submodules"]["Block"]["layers"]["norm"] = layer("BatchNorm2d", numFeatures="$out_ch")
    decision = policy.training(facts(model))
    assert set(codes(decision)) == {"BATCH_COUPLED"}
    assert "deep.norm (BatchNorm2d)" in " ".join(reason.msg for reason in decision.reasons)
