"""What DEPA's policy lets through, refused here with a reason.

The first part are the cases that its `policy.rego` was probed with, the second what it never looks
at. What the closed documents already refuse is refused before any rule is asked.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from policies.decide import Policy
from policies.errors import DocumentError
from policies.facts import BudgetAfter, contract_facts, training_facts
from policies.wire.contract import Contract, KeyRef
from policies.wire.pipeline import Pipeline
from tests.unit.policies.good import (
    NOW,
    RUN,
    attestation_case,
    case,
    change,
    charges,
    contract,
    contract_case,
    contract_document,
    document,
    pipeline_document,
    release_case,
    signed,
    training_case,
)

CONFIG = "/pipeline/1/config"


def judged(policy: Policy, pointer: str, value: Any) -> dict[str, str]:
    """Return the codes and places for a pipeline with one other value."""
    bent = pipeline_document()
    change(bent, pointer, value)
    decision = policy.training(training_case(bent))
    assert not decision.allow
    return {reason.code: reason.path for reason in decision.reasons}


def refused_pipeline(pointer: str, value: Any) -> str:
    """Return what the pipeline's schema says to one other value."""
    bent = pipeline_document()
    change(bent, pointer, value)
    with pytest.raises(DocumentError) as refused:
        Pipeline.from_json(bent)
    return str(refused.value)


def refused_contract(pointer: str, value: Any) -> str:
    bent = contract_document()
    change(bent, pointer, value)
    with pytest.raises(DocumentError) as refused:
        Contract.from_json(bent)
    return str(refused.value)


def codes(policy: Policy, entrypoint: Any, *changes: tuple[str, Any]) -> set[str]:
    """Return the codes for facts that no schema has seen."""
    facts = copy.deepcopy(case(entrypoint))
    for pointer, value in changes:
        change(facts, pointer, value)
    decision = policy.evaluate(entrypoint, document(facts))
    assert not decision.allow
    return {reason.code for reason in decision.reasons}


def test_more_epsilon_than_granted_is_refused_with_both_numbers(policy: Policy) -> None:
    bent = pipeline_document()
    change(bent, f"{CONFIG}/privacyParams/epsilon", 9.5)
    reasons = policy.training(training_case(bent)).reasons
    assert [str(reason) for reason in reasons] == [
        f"EPSILON_EXCEEDED at {CONFIG}/privacyParams/epsilon: "
        f"epsilon 9.5 asked, at most 8 granted for data set {name}"
        for name in ("mri-a", "mri-b")
    ]


def test_a_delta_of_nine_tenths_is_refused(policy: Policy) -> None:
    assert judged(policy, f"{CONFIG}/privacyParams/delta", 0.9) == {
        "DELTA_EXCEEDED": f"{CONFIG}/privacyParams/delta",
        "DELTA_GRANTS_A_RECORD": f"{CONFIG}/privacyParams/delta",
    }


def test_a_clipping_norm_that_clips_nothing_is_refused(policy: Policy) -> None:
    assert "maxGradNorm" in refused_pipeline(f"{CONFIG}/privacyParams/maxGradNorm", 1e9)
    assert set(judged(policy, f"{CONFIG}/privacyParams/maxGradNorm", 999.0)) == {
        "GRAD_NORM_EXCEEDED"
    }


def test_five_hundred_epochs_are_refused(policy: Policy) -> None:
    assert set(judged(policy, f"{CONFIG}/steps", 500_000)) == {"EPOCHS_EXCEEDED", "STEPS_EXCEEDED"}


@pytest.mark.parametrize("epsilon", [None, -1.0, 0.0, "1.0"])
def test_an_epsilon_that_is_no_positive_number_is_refused(epsilon: object) -> None:
    assert "epsilon" in refused_pipeline(f"{CONFIG}/privacyParams/epsilon", epsilon)


@pytest.mark.parametrize("epsilon", [None, -1, 0])
def test_an_epsilon_that_no_schema_has_seen_is_refused_too(policy: Policy, epsilon: object) -> None:
    found = codes(policy, "training", ("/pipeline/stages/1/privacy/microEpsilon", epsilon))
    assert found & {"FACTS_INCOMPLETE", "PRIVACY_NOT_POSITIVE", "EPSILON_EXCEEDED"}


def test_a_private_decoy_stage_behind_open_training_is_refused(policy: Policy) -> None:
    decoy = {"name": "Noop", "config": {"isPrivate": True, "privacyParams": {"epsilon": 0.1}}}
    assert "Noop" in refused_pipeline("/pipeline/-", decoy)
    found = codes(
        policy,
        "training",
        ("/pipeline/stages/1/isPrivate", False),
        ("/pipeline/stages/-", {"path": "/pipeline/2", "name": "Noop", "datasets": []}),
    )
    assert found >= {"STAGE_UNKNOWN", "STAGE_ORDER", "PRIVACY_REQUIRED"}


def test_a_join_that_copies_data_into_the_output_is_refused() -> None:
    copies = {"datasets": ["mri-a", "mri-b"], "joined_dataset": "/mnt/remote/output/stolen"}
    assert "joined_dataset: unknown field" in refused_pipeline("/pipeline/0/config", copies)


def test_a_loss_that_runs_a_command_is_refused() -> None:
    command = {"class": "torch.os.system", "params": {"command": "id"}}
    assert f"{CONFIG}/loss" in refused_pipeline(f"{CONFIG}/loss", command)


@pytest.mark.parametrize("stage", ["SparkJoin", "LLM_Finetune", "Train_XGB", "FeatureEnggCustom"])
def test_a_stage_that_is_not_offered_is_refused(policy: Policy, stage: str) -> None:
    assert stage in refused_pipeline("/pipeline/0/name", stage)
    assert "STAGE_UNKNOWN" in codes(policy, "training", ("/pipeline/stages/0/name", stage))


def test_a_contract_that_expired_in_1999_is_refused(policy: Policy) -> None:
    bent = contract_document()
    bent |= {"startTime": "1998-01-01T00:00:00Z", "expiryTime": "1999-01-01T00:00:00Z"}
    decision = policy.contract(contract_case(contract(bent)))
    expired = {reason.path: reason.msg for reason in decision.reasons}["/expiryTime"]
    assert expired == "expired at 1999-01-01T00:00:00Z, asked at 2026-05-28T20:26:40Z"


def test_another_purpose_is_refused(policy: Policy) -> None:
    assert "purpose" in refused_contract("/purpose", "MARKETING")
    found = codes(policy, "training", ("/contract/purpose", "MARKETING"))
    assert "PURPOSE_NOT_ALLOWED" in found


def test_a_contract_without_providers_or_consumer_is_refused(policy: Policy) -> None:
    assert "tdps" in refused_contract("/tdps", [])
    assert "tdc" in refused_contract("/tdc/id", "")
    found = codes(policy, "contract", ("/contract/tdps", []), ("/contract/tdc", ""))
    assert "PARTY_MISSING" in found


def test_open_training_under_a_contract_without_limits_is_refused(policy: Policy) -> None:
    assert "privacy" in refused_contract("/constraints/privacy", [])
    found = codes(
        policy, "training", ("/contract/privacy", []), ("/pipeline/stages/1/isPrivate", False)
    )
    assert found >= {"PRIVACY_MISSING", "PRIVACY_REQUIRED"}


def test_a_contract_without_data_is_refused(policy: Policy) -> None:
    assert "datasets" in refused_contract("/datasets", [])
    assert "DATASETS_MISSING" in codes(policy, "contract", ("/contract/datasets", []))


def test_a_pipeline_that_brings_its_own_mounts_is_refused() -> None:
    mounts = [{"mount_point": "/mnt/remote/icmr", "read_write": False}]
    assert "/azure_filesystems: unknown field" in refused_pipeline("/azure_filesystems", mounts)


def test_data_at_another_place_is_another_contract(policy: Policy) -> None:
    bent = contract_document()
    bent["datasets"][0]["url"] = "file:///blobs/elsewhere.sealed"
    facts = training_facts(
        contract_case(contract(bent)),
        Pipeline.from_json(pipeline_document()),
        parameters=1,
        charges=charges(Pipeline.from_json(pipeline_document())),
        budgets=[BudgetAfter("mri-a", 1, 1), BudgetAfter("mri-b", 1, 1)],
    )
    assert [reason.code for reason in policy.training(facts).reasons] == ["OTHER_CONTRACT"]


def test_another_attestation_authority_is_refused(policy: Policy) -> None:
    decision = policy.attestation(attestation_case(issuer="https://sharedeus.example"))
    assert [reason.code for reason in decision.reasons] == ["EVIDENCE_ISSUER"]


@pytest.mark.parametrize("absent", range(4))
def test_a_contract_that_any_party_has_not_signed_is_refused(policy: Policy, absent: int) -> None:
    agreed = contract()
    signers = [party.id for party in agreed.parties]
    missing = signers.pop(absent)
    facts = contract_facts(
        agreed,
        signatures=dict.fromkeys(signers, signed()),
        executed=False,
        revoked_by=[],
        now=NOW,
    )
    (reason,) = policy.contract(facts).reasons
    assert (reason.code, reason.path) == (
        "SIGNATURE_MISSING",
        ("/tdc", "/tdps/0", "/tdps/1", "/ccrp")[absent],
    )
    assert missing in reason.msg


def test_training_under_a_contract_that_is_signed_but_not_executed_is_refused(
    policy: Policy,
) -> None:
    assert codes(policy, "training", ("/executed", False)) == {"CONTRACT_NOT_EXECUTED"}


def test_a_contract_that_begins_tomorrow_is_refused(policy: Policy) -> None:
    bent = contract_document() | {"startTime": "2026-06-01T00:00:00Z"}
    decision = policy.contract(contract_case(contract(bent)))
    assert [reason.code for reason in decision.reasons] == ["CONTRACT_NOT_STARTED"]


@pytest.mark.parametrize("entrypoint", ["contract", "training", "release"])
def test_a_revoked_contract_is_refused_everywhere(policy: Policy, entrypoint: str) -> None:
    assert codes(policy, entrypoint, ("/revokedBy/-", "did:web:x")) == {"CONTRACT_REVOKED"}


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        (
            {"key": KeyRef(vault="https://127.0.0.1:8443", name="another-key")},
            "KEY_OF_OTHER_FILE",
        ),
        (
            {"key": KeyRef(vault="https://vault.attacker.example", name="mri-a-key")},
            "KEY_AT_OTHER_VAULT",
        ),
        ({"digest": "sha256:" + "9" * 64}, "KEY_NOT_IN_CONTRACT"),
    ],
)
def test_keys_of_other_files_are_not_released(
    policy: Policy, bent: dict[str, object], code: str
) -> None:
    first, *others = Pipeline.from_json(pipeline_document()).files(contract())
    decision = policy.release(release_case(files=[first.model_copy(update=bent), *others]))
    assert [reason.code for reason in decision.reasons] == [code]


def test_the_first_stage_is_judged_like_the_last(policy: Policy) -> None:
    bent = pipeline_document()
    change(bent, "/pipeline/0/config/datasets", ["mri-a", "mri-z"])
    places = {reason.code: reason.path for reason in policy.training(training_case(bent)).reasons}
    assert places["DATASET_NOT_IN_CONTRACT"] == "/pipeline/0/config/datasets"
    assert places["DATASET_NOT_USED"] == "/pipeline/0/config/datasets"


@pytest.mark.parametrize("field", ["paths", "device", "joining_query", "save_dir"])
def test_paths_devices_and_queries_are_unknown_fields(field: str) -> None:
    assert f"{CONFIG}/{field}: unknown field" in refused_pipeline(f"{CONFIG}/{field}", "/mnt")


def test_another_kind_of_model_is_refused(policy: Policy) -> None:
    assert "model" in refused_pipeline(f"{CONFIG}/model", {"kind": "pickle"})
    assert "MODEL_NOT_ALLOWED" in codes(policy, "training", ("/pipeline/stages/1/model", "onnx"))


def test_runs_that_together_cost_more_than_granted_are_refused(policy: Policy) -> None:
    facts = training_facts(
        contract_case(),
        Pipeline.from_json(pipeline_document()),
        parameters=1,
        charges=charges(Pipeline.from_json(pipeline_document())),
        budgets=[BudgetAfter("mri-a", 16_000_001, 1), BudgetAfter("mri-b", 1, 32_000_001)],
    )
    assert [str(reason) for reason in policy.training(facts).reasons] == [
        "BUDGET_EXHAUSTED at /pipeline: epsilon 16.000001 would be spent on data set mri-a "
        "by this consumer, at most 16 granted",
        "BUDGET_OVERALL_EXHAUSTED at /pipeline: epsilon 32.000001 would be spent on data set "
        "mri-b by all consumers, at most 32 granted",
    ]


def test_each_data_set_has_its_own_epsilon_and_no_minimum_is_taken(policy: Policy) -> None:
    found = codes(policy, "training", ("/contract/privacy/1/run/microEpsilon", 7_999_999))
    assert found == {"EPSILON_EXCEEDED"}


def test_metrics_of_private_data_are_withheld(policy: Policy) -> None:
    found = codes(policy, "training", ("/pipeline/stages/1/metrics/0/on", "private"))
    assert found == {"METRICS_WITHHELD"}


def test_a_run_gets_its_keys_once(policy: Policy) -> None:
    first = release_case()
    assert policy.release(first).allow
    spent = release_case(state="released", releasing_to=first.request.token)
    assert [reason.code for reason in policy.release(spent).reasons] == ["RUN_STATE"]


def test_the_same_request_may_be_repeated_until_it_is_answered(policy: Policy) -> None:
    token = release_case().request.token
    again = {"state": "releasing", "releasing_to": token, "nonce_used_with": [token]}
    assert policy.release(release_case(**again)).allow
    other = release_case(**again, token=b"another token")
    assert [r.code for r in policy.release(other).reasons] == ["NONCE_USED", "RUN_STATE"]


def test_an_approval_of_another_run_releases_nothing(policy: Policy) -> None:
    other = "run-" + "b" * 26
    decision = policy.release(release_case(run=other))
    assert [reason.code for reason in decision.reasons] == ["APPROVAL_OF_OTHER_RUN"]
    assert RUN in decision.reasons[0].msg


def test_a_token_for_another_challenge_is_refused(policy: Policy) -> None:
    runtime = {
        "keys": [{"kid": "release"}, {"kid": "report"}],
        "depa": {"contract": "", "run": RUN, "pipeline": "", "nonce": ""},
    }
    decision = policy.attestation(attestation_case(runtime=runtime))
    assert {reason.code for reason in decision.reasons} == {
        "BOUND_TO_OTHER_CONTRACT",
        "BOUND_TO_OTHER_NONCE",
        "BOUND_TO_OTHER_PIPELINE",
    }


def test_a_debuggable_clean_room_gets_nothing(policy: Policy) -> None:
    decision = policy.attestation(attestation_case(debuggable=True))
    assert [reason.code for reason in decision.reasons] == ["EVIDENCE_DEBUGGABLE"]
