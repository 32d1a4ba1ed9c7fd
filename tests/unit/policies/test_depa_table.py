"""Every case that DEPA's policy was probed with, and every field that it does not check: refused.

One line each: what the case is called there, and where or with which code it is refused here. What
a document cannot even say is refused by its schema, at a pointer; everything else by a rule.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from policies.decide import Policy
from policies.errors import DocumentError
from policies.wire.base import Document
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.unit.policies.good import (
    NOW,
    case,
    change,
    contract_document,
    document,
    pipeline_document,
)

OTHER = "sha256:" + "9" * 64
CONFIG = "/pipeline/1/config"
TRAIN = "/pipeline/stages/1"
REMOVED = object()
Changes = dict[str, Any]

# Facts that no schema has seen: the rules alone refuse them.
BY_RULE: list[tuple[str, str, str, Changes]] = [
    # What the policy was probed with.
    (
        "epsilon above the contract",
        "training",
        "EPSILON_EXCEEDED",
        {f"{TRAIN}/privacy/microEpsilon": 9_000_000},
    ),
    ("delta 0.9", "training", "DELTA_EXCEEDED", {f"{TRAIN}/privacy/deltaTrillionths": 9 * 10**11}),
    (
        "clipping norm 1e9",
        "training",
        "GRAD_NORM_EXCEEDED",
        {f"{TRAIN}/privacy/maxGradNormMicro": 10**15},
    ),
    ("500 epochs", "training", "EPOCHS_EXCEEDED", {f"{TRAIN}/steps": 500_000}),
    (
        "open training before a private stage of no effect",
        "training",
        "STAGE_UNKNOWN",
        {
            f"{TRAIN}/isPrivate": False,
            "/pipeline/stages/-": {
                "path": "/pipeline/2",
                "name": "Noop",
                "datasets": ["mri-a", "mri-b"],
            },
        },
    ),
    (
        "a join that copies into the output",
        "training",
        "FOREIGN_TEXT",
        {"/pipeline/foreignTexts/-": "/pipeline/0/config/joined"},
    ),
    (
        "a join that opens files to write",
        "training",
        "INPUT_NOT_READ_ONLY",
        {"/pipeline/inputs/0/access": "read-write"},
    ),
    (
        "loss torch.os.system",
        "training",
        "LOSS_NOT_ALLOWED",
        {f"{TRAIN}/losses/0": "torch.os.system"},
    ),
    (
        "SparkJoin that drops no identifiers",
        "training",
        "STAGE_UNKNOWN",
        {"/pipeline/stages/0/name": "SparkJoin"},
    ),
    (
        "contract expired in 1999",
        "training",
        "CONTRACT_EXPIRED",
        {"/contract/startsAt": 1, "/contract/expiresAt": 915_148_800_000_000},
    ),
    ("purpose MARKETING", "training", "PURPOSE_NOT_ALLOWED", {"/contract/purpose": "MARKETING"}),
    ("no providers", "training", "PARTY_MISSING", {"/contract/tdps": []}),
    ("no consumer", "training", "PARTY_MISSING", {"/contract/tdc": ""}),
    (
        "no constraints, open training",
        "training",
        "PRIVACY_MISSING",
        {"/contract/privacy": [], f"{TRAIN}/isPrivate": False},
    ),
    ("no data sets", "training", "DATASETS_MISSING", {"/contract/datasets": []}),
    (
        "mounts of the pipeline's own",
        "training",
        "INPUTS_DIFFER",
        {"/pipeline/inputs/-": {"id": "icmr", "digest": OTHER, "access": "read"}},
    ),
    (
        "another file at the mount",
        "training",
        "INPUT_DIGEST_DIFFERS",
        {"/pipeline/inputs/1/digest": OTHER},
    ),
    (
        "another attestation authority",
        "attestation",
        "EVIDENCE_ISSUER",
        {"/claims/issuer": "https://sharedeus.example"},
    ),
    (
        "a private stage without privacy parameters",
        "training",
        "PRIVACY_PARAMS_MISSING",
        {f"{TRAIN}/privacy": REMOVED},
    ),
    ("an epsilon of null", "training", "FACTS_INCOMPLETE", {f"{TRAIN}/privacy/microEpsilon": None}),
    (
        "an epsilon below zero",
        "training",
        "FACTS_INCOMPLETE",
        {f"{TRAIN}/privacy/microEpsilon": -1},
    ),
    # What it never looks at.
    ("signatures", "training", "SIGNATURE_MISSING", {"/signatures/0": REMOVED}),
    ("receipt", "training", "CONTRACT_NOT_EXECUTED", {"/executed": False}),
    (
        "participants",
        "contract",
        "PROVIDER_UNKNOWN",
        {"/contract/datasets/0/provider": "did:web:x"},
    ),
    (
        "a provider who lends nothing",
        "contract",
        "SIGNATURE_MISSING",
        {"/contract/tdps/-": "did:web:x"},
    ),
    ("DIDs", "contract", "SIGNATURE_OF_STRANGER", {"/signatures/0/signer": "did:web:x"}),
    ("startTime", "training", "CONTRACT_NOT_STARTED", {"/contract/startsAt": NOW * 10**6 + 1}),
    ("expiryTime", "release", "CONTRACT_EXPIRED", {"/contract/expiresAt": NOW * 10**6}),
    ("revocation", "release", "CONTRACT_REVOKED", {"/revokedBy/-": "did:web:x"}),
    ("supersession", "training", "CONTRACT_SUPERSEDED", {"/supersededBy/-": OTHER}),
    ("ccrp", "contract", "PARTY_MISSING", {"/contract/ccrp": ""}),
    (
        "data set id",
        "training",
        "DATASET_NOT_IN_CONTRACT",
        {"/pipeline/stages/0/datasets/0": "mri-z"},
    ),
    ("data set hash", "contract", "DIGEST_INVALID", {"/contract/datasets/0/digest": ""}),
    (
        "data set url and everything else in the contract",
        "training",
        "OTHER_CONTRACT",
        {"/contract/digest": OTHER},
    ),
    ("placeholders", "contract", "PLACEHOLDER_LEFT", {"/contract/unfilled/-": "/datasets/0/url"}),
    (
        "identity of the model's mount",
        "training",
        "BASE_WEIGHTS_UNKNOWN",
        {f"{TRAIN}/baseWeights/0": "theirs"},
    ),
    (
        "identity of the output's key",
        "contract",
        "RECIPIENT_NOT_CONSUMER",
        {"/contract/recipient": "did:web:x"},
    ),
    (
        "any stage but the last",
        "training",
        "STAGE_ORDER",
        {
            "/pipeline/stages/-": {
                "path": "/pipeline/2",
                "name": "DirectoryJoin",
                "datasets": ["mri-a", "mri-b"],
            }
        },
    ),
    ("stage names", "training", "STAGE_UNKNOWN", {"/pipeline/stages/0/name": "Train_XGB"}),
    (
        "data sets of a later stage",
        "training",
        "STAGE_INPUT_DIFFERS",
        {f"{TRAIN}/datasets/1": "mri-z"},
    ),
    (
        "a join that a provider does not allow",
        "training",
        "JOIN_NOT_ALLOWED",
        {"/contract/dataUse/1/join": False},
    ),
    ("noise_multiplier", "training", "NOISE_TOO_SMALL", {"/charges/0/noiseMicro": 0}),
    (
        "max_grad_norm",
        "training",
        "GRAD_NORM_EXCEEDED",
        {"/contract/privacy/1/maxGradNormMicro": 499_999},
    ),
    (
        "delta of one unit",
        "contract",
        "DELTA_GRANTS_A_RECORD",
        {"/contract/datasets/0/units": 2000},
    ),
    (
        "batch_size",
        "training",
        "SAMPLING_RATE_EXCEEDED",
        {"/contract/privacy/0/maxSamplingBillionths": 10**8},
    ),
    ("batch_size above the data", "training", "BATCH_TOO_LARGE", {f"{TRAIN}/batchUnits": 441}),
    ("epochs", "training", "STEPS_EXCEEDED", {"/contract/privacy/0/maxSteps": 99}),
    (
        "samples of one patient in a step",
        "training",
        "SAMPLES_PER_UNIT_EXCEEDED",
        {f"{TRAIN}/samplesPerUnit": 65},
    ),
    (
        "how a patient's gradients are combined",
        "training",
        "UNIT_GRADIENT_UNKNOWN",
        {f"{TRAIN}/unitGradient": "sum"},
    ),
    ("layers that couple a batch", "training", "BATCH_COUPLED", {f"{TRAIN}/batchCoupled/-": "bn1"}),
    ("framework and format", "training", "OUTPUT_NOT_ALLOWED", {f"{TRAIN}/output": "pickle"}),
    ("kind of model", "training", "MODEL_NOT_ALLOWED", {f"{TRAIN}/model": "xgboost"}),
    ("size of the model", "training", "PARAMETERS_EXCEEDED", {f"{TRAIN}/parameters": 10**10}),
    ("number of runs", "training", "BUDGET_EXHAUSTED", {"/budgets/0/tdcAfter": 16_000_001}),
    (
        "cumulative epsilon",
        "training",
        "BUDGET_OVERALL_EXHAUSTED",
        {"/budgets/1/overallAfter": 32_000_001},
    ),
    ("who is charged", "training", "CHARGE_OF_OTHER_CONSUMER", {"/charges/0/tdc": "did:web:x"}),
    ("what is charged", "training", "MECHANISM_DIFFERS", {"/charges/0/steps": 1}),
    ("a data set that is charged nothing", "training", "CHARGES_DIFFER", {"/charges/1": REMOVED}),
    (
        "epsilon of each data set",
        "training",
        "EPSILON_EXCEEDED",
        {"/contract/privacy/1/run/microEpsilon": 7_999_999},
    ),
    (
        "outputs without privacy",
        "training",
        "METRICS_WITHHELD",
        {f"{TRAIN}/metrics/0/on": "private"},
    ),
    ("metrics", "training", "METRIC_NOT_ALLOWED", {f"{TRAIN}/metrics/0/name": "auroc"}),
    ("unit of privacy", "training", "UNIT_MISMATCH", {f"{TRAIN}/privacy/unit": "record"}),
    (
        "neighbourhood",
        "training",
        "ADJACENCY_MISMATCH",
        {f"{TRAIN}/privacy/adjacency": "replace-one"},
    ),
    ("which policy judges", "training", "POLICY_MISMATCH", {"/contract/policy/version": "0.53.0"}),
    (
        "rules of a stranger",
        "contract",
        "PARTY_RULE_OF_STRANGER",
        {"/contract/policy/partyRules/-": {"provider": "did:web:x", "name": "x", "digest": OTHER}},
    ),
]

# What a document cannot say.
BY_SCHEMA: list[tuple[str, type[Document], Callable[[], dict[str, Any]], str, Any]] = [
    ("delta as a text", Pipeline, pipeline_document, f"{CONFIG}/privacyParams/delta", "0.01"),
    ("clipping norm 1e9", Pipeline, pipeline_document, f"{CONFIG}/privacyParams/maxGradNorm", 1e9),
    ("a stage Noop", Pipeline, pipeline_document, "/pipeline/0/name", "Noop"),
    ("joined_dataset", Pipeline, pipeline_document, "/pipeline/0/config/joined_dataset", "/mnt"),
    (
        "loss torch.os.system",
        Pipeline,
        pipeline_document,
        f"{CONFIG}/loss/class",
        "torch.os.system",
    ),
    ("azure_filesystems", Pipeline, pipeline_document, "/azure_filesystems", []),
    ("paths", Pipeline, pipeline_document, f"{CONFIG}/paths", {"save_dir": "/mnt"}),
    ("join query", Pipeline, pipeline_document, "/pipeline/0/config/joining_query", "SELECT 1"),
    ("join keys", Pipeline, pipeline_document, "/pipeline/0/config/joining_key", "id"),
    ("select columns", Pipeline, pipeline_document, "/pipeline/0/config/select_variables", []),
    ("epochs_per_report", Pipeline, pipeline_document, f"{CONFIG}/epochs_per_report", 1),
    ("noise_multiplier", Pipeline, pipeline_document, f"{CONFIG}/noise_multiplier", 0.0),
    ("device", Pipeline, pipeline_document, f"{CONFIG}/device", "cuda:0"),
    ("purpose MARKETING", Contract, contract_document, "/purpose", "MARKETING"),
    ("a tdc without name", Contract, contract_document, "/tdc/id", ""),
    ("no providers", Contract, contract_document, "/tdps", []),
    ("no data sets", Contract, contract_document, "/datasets", []),
    ("no constraints", Contract, contract_document, "/constraints/privacy", []),
    ("a data set without hash", Contract, contract_document, "/datasets/0/digest", "latest"),
    (
        "an authority by http",
        Contract,
        contract_document,
        "/attestation/authorities/0",
        "http://maa",
    ),
    ("epsilon as a text", Contract, contract_document, "/constraints/privacy/0/run/epsilon", "1.5"),
    ("a list that grants nothing", Contract, contract_document, "/constraints/losses", []),
    (
        "a list that grants a thing twice",
        Contract,
        contract_document,
        "/constraints/outputs",
        ["onnx", "onnx"],
    ),
    (
        "no noise at all",
        Contract,
        contract_document,
        "/constraints/privacy/0/minNoiseMultiplier",
        0.0,
    ),
]


@pytest.mark.parametrize(
    ("name", "entrypoint", "code", "changes"), BY_RULE, ids=[case[0] for case in BY_RULE]
)
def test_a_case_is_denied_with_its_reason(
    policy: Policy, name: str, entrypoint: Any, code: str, changes: Changes
) -> None:
    facts = copy.deepcopy(case(entrypoint))
    for pointer, value in changes.items():
        change(facts, pointer, value, remove=value is REMOVED)
    decision = policy.evaluate(entrypoint, document(facts))
    assert not decision.allow, name
    assert code in {reason.code for reason in decision.reasons}, name
    assert all(reason.msg for reason in decision.reasons)


@pytest.mark.parametrize(
    ("name", "kind", "good", "pointer", "value"), BY_SCHEMA, ids=[case[0] for case in BY_SCHEMA]
)
def test_a_case_that_no_document_can_state_is_refused_at_its_place(
    name: str,
    kind: type[Document],
    good: Callable[[], dict[str, Any]],
    pointer: str,
    value: object,
) -> None:
    bent = good()
    change(bent, pointer, value)
    with pytest.raises(DocumentError) as refused:
        kind.from_json(bent)
    places = [problem.pointer for problem in refused.value.problems]
    assert any(pointer.startswith(at) or at.startswith(pointer) for at in places), name
