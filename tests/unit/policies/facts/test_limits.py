"""Optional limits, charges and texts, as the policies see them."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from policies.decide import Policy
from policies.facts import training_facts
from policies.wire.choices import LossName, Metric, OutputFormat
from policies.wire.losses import Component
from policies.wire.pipeline import Pipeline
from policies.wire.texts import foreign_texts, placeholders
from tests.unit.policies.good import (
    change,
    charges,
    contract,
    contract_case,
    contract_document,
    pipeline_document,
    training_case,
)


def limited(**limits: Any) -> dict[str, Any]:
    """Return the first data set's limits as facts, with some of them stated in the contract."""
    document = contract_document()
    document["constraints"]["privacy"][0] |= limits
    facts: dict[str, Any] = contract_case(contract(document)).to_json()
    return dict(facts["contract"]["privacy"][0])


def test_a_limit_that_is_left_out_is_the_widest_there_is() -> None:
    facts = limited()
    assert facts["maxEpochs"] == facts["maxSteps"] == 1000
    assert facts["maxSamplingBillionths"] == 10**9
    assert facts["maxSamplesPerUnit"] == 64
    assert facts["minNoiseMicro"] == 1


def test_a_limit_that_is_stated_is_rounded_against_the_pipeline() -> None:
    facts = limited(
        maxEpochs=3, maxSamplingRate=0.333333, maxSamplesPerUnit=2, minNoiseMultiplier=0.7001
    )
    assert facts["maxEpochs"] == 3
    assert facts["maxSamplingBillionths"] == 333_333_000
    assert facts["maxSamplesPerUnit"] == 2
    assert facts["minNoiseMicro"] == 700_100


def test_a_list_that_is_left_out_grants_all_that_is_offered() -> None:
    document = contract_document()
    for name in ("losses", "metrics", "outputs"):
        del document["constraints"][name]
    terms = contract_case(contract(document)).contract
    assert terms.losses == get_args(LossName)
    assert terms.metrics == get_args(Metric)
    assert terms.outputs == get_args(OutputFormat)


def test_a_contract_can_grant_every_loss_of_a_pipeline_and_no_other() -> None:
    union: Any = get_args(Component)[0]
    classes: tuple[type[BaseModel], ...] = get_args(union)
    named = {get_args(item.model_fields["loss"].annotation)[0] for item in classes}
    assert set(get_args(LossName)) == named


def test_a_composed_loss_needs_each_of_its_components(policy: Policy) -> None:
    bent = pipeline_document()
    loss = {
        "expression": "ce + dice",
        "components": {"ce": {"class": "BCEWithLogitsLoss"}, "dice": {"class": "DiceLoss"}},
    }
    change(bent, "/pipeline/1/config/loss", loss)
    reasons = policy.training(training_case(bent)).reasons
    assert [str(reason) for reason in reasons] == [
        "LOSS_NOT_ALLOWED at /pipeline/1/config/loss: expected one of BCEWithLogitsLoss, "
        "got DiceLoss"
    ]


@pytest.mark.parametrize(
    ("limit", "value", "code"),
    [
        ("maxEpochs", 18, "EPOCHS_EXCEEDED"),
        ("maxSamplingRate", 0.18, "SAMPLING_RATE_EXCEEDED"),
        ("minNoiseMultiplier", 0.9001, "NOISE_TOO_SMALL"),
    ],
)
def test_each_data_set_may_limit_what_the_run_does(
    policy: Policy, limit: str, value: float, code: str
) -> None:
    document = contract_document()
    document["constraints"]["privacy"][1][limit] = value
    agreed = contract(document)
    bent = pipeline_document() | {"contract": agreed.digest()}
    facts = training_case(bent).model_copy(
        update={"contract": contract_case(agreed).contract, "executed": True}
    )
    reasons = policy.training(facts).reasons
    assert [reason.code for reason in reasons] == [code]
    assert "mri-b" in reasons[0].msg


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"class_name": "NoOpDpEvent"},
        {"class_name": "GaussianDpEvent", "noise_multiplier": 5.0},
        {"class_name": "SelfComposedDpEvent", "count": True, "event": {}},
        {"class_name": "ComposedDpEvent", "events": []},
    ],
)
def test_a_mechanism_that_is_not_private_training_has_no_noise(
    policy: Policy, event: dict[str, Any]
) -> None:
    pipeline = Pipeline.from_json(pipeline_document())
    bent = [item.model_copy(update={"event": event}) for item in charges(pipeline)]
    good = training_case()
    facts = training_facts(
        contract_case(), pipeline, parameters=1, charges=bent, budgets=[]
    ).model_copy(update={"budgets": good.budgets})
    charge = facts.charges[0]
    assert (charge.noise_micro, charge.sampling_billionths, charge.steps) == (0, 0, 0)
    codes = {reason.code for reason in policy.training(facts).reasons}
    assert codes == {"MECHANISM_DIFFERS", "NOISE_TOO_SMALL"}


def test_inputs_are_what_the_contract_pins() -> None:
    digests = {item.id: item.digest for item in contract().datasets}
    assert {item.id: item.digest for item in training_case().pipeline.inputs} == digests
    assert {item.access for item in training_case().pipeline.inputs} == {"read"}


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/x",
        "S3://bucket",
        "/etc/passwd",
        "~/data",
        "C:\\data",
        "\\\\server\\share",
        "..",
        "../up",
        "a/../b",
        " /mnt\n",
        "cuda:0",
        "CPU",
    ],
)
def test_paths_urls_and_devices_are_found_where_they_stand(text: str) -> None:
    assert list(foreign_texts({"a/b": [{"c": text}, 1, "fine"]})) == ["/a~1b/0/c"]


@pytest.mark.parametrize("text", ["ce / 2", "1.5 * dice", "T1/T2 weighted", "v1..2", "cuda-like"])
def test_other_texts_are_left_alone(text: str) -> None:
    assert list(foreign_texts([text])) == []


def test_a_pipeline_named_by_a_url_is_refused(policy: Policy) -> None:
    bent = pipeline_document() | {"name": "https://example.org/collect"}
    (reason,) = policy.training(training_case(bent)).reasons
    assert (reason.code, reason.path) == ("FOREIGN_TEXT", "/name")


def test_placeholders_are_found_where_they_stand() -> None:
    value = {"title": "on $TDC_DID", "terms": ["<YOUR NAME>", "5 $", "${x}"]}
    assert list(placeholders(value)) == [
        ("/title", "$TDC_DID"),
        ("/terms/0", "<YOUR NAME>"),
        ("/terms/2", "${x}"),
    ]


def test_a_contract_that_is_not_filled_in_is_refused_where_it_is_not(policy: Policy) -> None:
    agreed = contract(contract_document() | {"title": "Study of $HOSPITAL"})
    (reason,) = policy.contract(contract_case(agreed)).reasons
    assert (reason.code, reason.path) == ("PLACEHOLDER_LEFT", "/title")
