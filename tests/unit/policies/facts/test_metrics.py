"""From documents to a decision: metrics of private data that are granted, asked for and charged."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from policies import accounting
from policies.decide import Policy
from policies.facts import TrainingFacts, training_facts
from policies.population import most_units
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Charge
from tests.samples import pipeline_json
from tests.unit.policies.good import contract_case, contract_document, training_case

GRANT = {"metrics": ["dice_score", "mse"], "epsilon": 0.5}
ASKED = {"metrics": ["dice_score"], "epsilon": 0.5}
AT = "/pipeline/1/config/privateMetrics"


def agreed(*grants: dict[str, Any] | None) -> Contract:
    """Return a contract whose data sets grant metrics, in their order."""
    document = contract_document()
    limits = document["constraints"]["privacy"]
    for limit, grant in zip(limits, grants, strict=True):
        if grant is not None:
            limit["privateMetrics"] = grant
    if any(grants):
        document["constraints"]["metricsOnPrivateData"] = "noised"
    return Contract.from_json(document)


@functools.cache
def mechanism(text: str, units: int) -> tuple[int, dict[str, Any]]:
    """Return what a pipeline costs, and its event."""
    plan = accounting.plan_training(Pipeline.parse(text.encode()).train, units=units)
    return accounting.micro_epsilon(plan.cost), accounting.event_to_json(plan.event)


def piped(terms: Contract, **asked: Any) -> Pipeline:
    more = {"privateMetrics": asked} if asked else {}
    return Pipeline.from_json(pipeline_json(terms.digest(), steps=20, batchSize=80, **more))


def charges(terms: Contract, pipeline: Pipeline) -> list[Charge]:
    cost, event = mechanism(pipeline.canonical().decode(), most_units(pipeline, terms))
    params = pipeline.train.privacy_params
    assert params is not None
    return [
        Charge(
            dataset=item.id,
            tdc=terms.tdc.id,
            micro_epsilon=cost,
            delta_trillionths=accounting.delta_trillionths(params.delta),
            event=event,
        )
        for item in terms.datasets
    ]


def facts(terms: Contract, **asked: Any) -> TrainingFacts:
    """Return the facts about a pipeline that asks for some metrics, or for none."""
    pipeline = piped(terms, **asked)
    made = training_facts(
        contract_case(terms),
        pipeline,
        parameters=1,
        charges=charges(terms, pipeline),
        budgets=[],
    )
    return made.model_copy(update={"budgets": training_case().budgets})


def reasons(policy: Policy, found: TrainingFacts) -> set[tuple[str, str]]:
    decision = policy.training(found)
    assert decision.allow == (not decision.reasons)
    return {(reason.code, reason.path) for reason in decision.reasons}


def test_what_every_data_set_grants_is_allowed(policy: Policy) -> None:
    found = facts(agreed(GRANT, GRANT), **ASKED)
    assert reasons(policy, found) == set()
    (stage,) = [one for one in found.to_json()["pipeline"]["stages"] if one["name"] == "Train_DL"]
    assert {"name": "dice_score", "on": "private"} in stage["metrics"]
    assert stage["privateMetricsMicroEpsilon"] == 500_000
    assert all(charge.metrics_noise_micro > 1_000_000 for charge in found.charges)
    assert all(charge.noise_micro > 0 and charge.steps == 20 for charge in found.charges)


def test_a_grant_changes_nothing_for_who_asks_for_no_metric(policy: Policy) -> None:
    assert reasons(policy, facts(agreed(GRANT, GRANT))) == set()


@pytest.mark.parametrize(
    ("grants", "asked", "code", "at"),
    [
        ((None, None), ASKED, "METRICS_WITHHELD", AT),
        ((GRANT, None), ASKED, "METRIC_NOT_LENT", f"{AT}/metrics"),
        ((GRANT, GRANT), {**ASKED, "metrics": ["mae"]}, "METRIC_NOT_LENT", f"{AT}/metrics"),
        (
            (GRANT, {**GRANT, "epsilon": 0.4}),
            ASKED,
            "METRICS_SHARE_EXCEEDED",
            f"{AT}/epsilon",
        ),
    ],
)
def test_what_a_data_set_does_not_grant_is_denied(
    policy: Policy, grants: Any, asked: dict[str, Any], code: str, at: str
) -> None:
    assert reasons(policy, facts(agreed(*grants), **asked)) == {(code, at)}


def test_metrics_that_are_not_charged_are_denied(policy: Policy) -> None:
    terms = agreed(GRANT, GRANT)
    bent = facts(terms, **ASKED).model_copy(update={"charges": facts(terms).charges})
    assert reasons(policy, bent) == {("METRICS_UNPAID", AT)}


def test_a_charge_for_metrics_that_nobody_asked_for_is_denied(policy: Policy) -> None:
    terms = agreed(GRANT, GRANT)
    bent = facts(terms).model_copy(update={"charges": facts(terms, **ASKED).charges})
    assert reasons(policy, bent) == {("MECHANISM_DIFFERS", "/pipeline/1/config")}


def test_metrics_count_on_the_budgets_like_training(policy: Policy) -> None:
    found = facts(agreed(GRANT, GRANT), **ASKED)
    spent = found.budgets[0].model_copy(update={"tdc_after": 10**9})
    bent = found.model_copy(update={"budgets": (spent, *found.budgets[1:])})
    assert {code for code, _ in reasons(policy, bent)} == {"BUDGET_EXHAUSTED"}


@pytest.mark.parametrize("second", [{"class_name": "LaplaceDpEvent"}, {"noise_multiplier": True}])
def test_what_follows_training_and_is_no_release_is_not_taken_for_one(
    policy: Policy, second: dict[str, Any]
) -> None:
    terms = agreed(GRANT, GRANT)
    pipeline = piped(terms, **ASKED)
    bent = []
    for charge in charges(terms, pipeline):
        training, released = charge.event["events"]
        event = {**charge.event, "events": [training, {**released, **second}]}
        bent.append(charge.model_copy(update={"event": event}))
    found = training_facts(
        contract_case(terms), pipeline, parameters=1, charges=bent, budgets=[]
    ).model_copy(update={"budgets": training_case().budgets})
    charge = found.charges[0]
    assert (charge.noise_micro, charge.steps, charge.metrics_noise_micro) == (0, 0, 0)
    assert {code for code, _ in reasons(policy, found)} >= {"METRICS_UNPAID", "NOISE_TOO_SMALL"}
