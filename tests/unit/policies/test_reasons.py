"""Every reason code: the least change to allowed facts that must be refused with it."""

from __future__ import annotations

import copy
from importlib.resources import as_file, files
from typing import Any

import pytest

from policies.bundle import load_bundle
from policies.decide import Policy
from policies.lint import read_folder
from policies.lint.codes import ENGINE_CODES
from policies.lint.source import Module, dotted, parse_module, walk
from tests.samples import did
from tests.unit.policies import table_reasons
from tests.unit.policies.good import ENTRYPOINTS, NOW, case, change, document

OTHER = "sha256:" + "9" * 64
NOW_US = NOW * 1_000_000
REMOVED = object()
ASKED = case("release")["request"]["keys"][0]
Change = tuple[str, Any]

TRAIN = "/pipeline/stages/1"
HOSPITAL_A = did("Hospital-A")
GOOD_BASE = case("contract")["contract"]["baseModels"][0]
RULE = {"provider": HOSPITAL_A, "name": "ethics", "digest": OTHER}
NOISED = ("/contract/metricsOnPrivateData", "noised")


def granted(dataset: int, *names: str, epsilon: int = 500_000) -> Change:
    """Return the change by which a data set grants metrics of its data."""
    value = {"names": list(names), "microEpsilon": epsilon}
    return (f"/contract/privacy/{dataset}/privateMetrics", value)


RELEASED: list[Change] = [
    NOISED,
    granted(0, "dice_score"),
    granted(1, "dice_score"),
    ("/pipeline/stages/1/metrics/0/on", "private"),
    ("/pipeline/stages/1/privateMetricsMicroEpsilon", 500_000),
    ("/charges/0/metricsNoiseMicro", 5_000_000),
    ("/charges/1/metricsNoiseMicro", 5_000_000),
]
"""Both data sets grant a metric that the stage asks for."""

DENIED: list[tuple[str, str, list[Change]]] = [
    ("contract", "ADJACENCY_UNKNOWN", [("/contract/privacy/0/adjacency", "bounded")]),
    ("contract", "BASE_MODEL_PROVIDER", [("/contract/baseModels/0/provider", "did:web:x")]),
    ("contract", "CONTRACT_EXPIRED", [("/contract/expiresAt", NOW_US)]),
    ("contract", "CONTRACT_NOT_STARTED", [("/contract/startsAt", NOW_US + 1)]),
    ("contract", "CONTRACT_REVOKED", [("/revokedBy/-", "did:web:x")]),
    ("contract", "CONTRACT_SUPERSEDED", [("/supersededBy/-", OTHER)]),
    ("contract", "DATASETS_MISSING", [("/contract/datasets", [])]),
    ("contract", "DATASET_DUPLICATE", [("/contract/datasets/1/id", "mri-a")]),
    ("contract", "DATA_USE_MISSING", [("/contract/dataUse/0", REMOVED)]),
    ("contract", "DELTA_GRANTS_A_RECORD", [("/contract/datasets/0/units", 2000)]),
    ("contract", "DIGEST_INVALID", [("/contract/datasets/0/digest", "sha256:latest")]),
    ("contract", "FACTS_INCOMPLETE", [("/executed", REMOVED)]),
    ("contract", "KEY_INVALID", [("/contract/datasets/1/key/vault", "http://vault")]),
    ("contract", "LIMIT_DUPLICATE", [("/contract/privacy/0/dataset", "mri-b")]),
    ("contract", "LIMIT_NOT_NESTED", [("/contract/privacy/0/total/microEpsilon", 1)]),
    ("contract", "LIMIT_NOT_POSITIVE", [("/contract/privacy/0/maxSteps", 0)]),
    ("contract", "LIMIT_UNKNOWN_DATASET", [("/contract/dataUse/0/dataset", "mri-z")]),
    ("contract", "METRICS_GRANT_TOO_LARGE", [NOISED, granted(0, "mse", epsilon=8_000_001)]),
    ("contract", "METRICS_TERMS_DIFFER", [NOISED]),
    ("contract", "METRICS_TERMS_DIFFER", [granted(1, "mse")]),
    ("contract", "METRIC_UNBOUNDED", [NOISED, granted(0, "mse", "hausdorff_distance")]),
    ("contract", "METRICS_TERMS_UNKNOWN", [("/contract/metricsOnPrivateData", "all")]),
    (
        "contract",
        "PARTY_DUPLICATE",
        [("/contract/tdps/1", "did:web:x"), ("/contract/ccrp", "did:web:x")],
    ),
    ("contract", "PARTY_MISSING", [("/contract/ccrp", "")]),
    ("contract", "POLICY_MISMATCH", [("/contract/policy/digest", OTHER)]),
    ("contract", "PRIVACY_MISSING", [("/contract/privacy/1", REMOVED)]),
    ("contract", "PROVIDER_UNKNOWN", [("/contract/datasets/0/provider", "did:web:x")]),
    ("contract", "PURPOSE_NOT_ALLOWED", [("/contract/purpose", "MARKETING")]),
    ("contract", "RECIPIENT_NOT_CONSUMER", [("/contract/recipient", "did:web:x")]),
    ("contract", "SCHEMA_UNSUPPORTED", [("/contract/schemaVersion", "0.1")]),
    ("contract", "SIGNATURE_KEY_NOT_VALID", [("/signatures/0/keyValidUntil", NOW_US // 2)]),
    ("contract", "SIGNATURE_MISSING", [("/signatures/0", REMOVED)]),
    (
        "contract",
        "SIGNATURE_OF_STRANGER",
        [
            (
                "/signatures/-",
                {"signer": "did:web:x", "signedAt": 1, "keyValidFrom": 0, "keyValidUntil": 1},
            )
        ],
    ),
    ("contract", "SIGNATURE_TIME", [("/signatures/0/signedAt", NOW_US * 2)]),
    ("contract", "TRUST_TERMS_EMPTY", [("/contract/attestation/authorities", [])]),
    ("contract", "UNIT_UNKNOWN", [("/contract/privacy/0/unit", "slice")]),
    ("contract", "WINDOW_INVALID", [("/contract/expiresAt", 1)]),
    ("training", "ADJACENCY_MISMATCH", [(f"{TRAIN}/privacy/adjacency", "replace-one")]),
    (
        "training",
        "BASE_WEIGHTS_MISSING",
        [(f"{TRAIN}/model", "onnx"), (f"{TRAIN}/baseWeights", [])],
    ),
    ("training", "BASE_WEIGHTS_UNKNOWN", [(f"{TRAIN}/baseWeights", ["theirs"])]),
    ("training", "BATCH_COUPLED", [(f"{TRAIN}/batchCoupled", ["BatchNormalization"])]),
    ("training", "BATCH_TOO_LARGE", [(f"{TRAIN}/batchUnits", 441)]),
    ("training", "BUDGET_EXHAUSTED", [("/budgets/0/tdcAfter", 16_000_001)]),
    ("training", "BUDGET_OVERALL_EXHAUSTED", [("/budgets/0/overallAfter", 32_000_001)]),
    ("training", "BUDGET_UNKNOWN", [("/budgets/1", REMOVED)]),
    ("training", "CONTRACT_NOT_EXECUTED", [("/executed", False)]),
    ("training", "DATASET_NOT_IN_CONTRACT", [("/pipeline/stages/0/datasets/-", "mri-z")]),
    ("training", "DATASET_NOT_USED", [("/pipeline/stages/0/datasets/1", REMOVED)]),
    ("training", "DATASET_REPEATED", [("/pipeline/stages/0/datasets/-", "mri-a")]),
    ("training", "DELTA_EXCEEDED", [(f"{TRAIN}/privacy/deltaTrillionths", 500_000_001)]),
    (
        "training",
        "DELTA_GRANTS_A_RECORD",
        [(f"{TRAIN}/privacy/deltaTrillionths", 10**12 // 220 + 1)],
    ),
    ("training", "EPSILON_EXCEEDED", [(f"{TRAIN}/privacy/microEpsilon", 8_000_001)]),
    ("training", "FACTS_INCOMPLETE", [(f"{TRAIN}/steps", REMOVED)]),
    ("training", "GRAD_NORM_EXCEEDED", [(f"{TRAIN}/privacy/maxGradNormMicro", 1_000_001)]),
    ("training", "JOIN_MISSING", [("/pipeline/stages/0", REMOVED)]),
    ("training", "JOIN_NOT_ALLOWED", [("/contract/dataUse/0/join", False)]),
    (
        "training",
        "METRICS_SHARE_EXCEEDED",
        [*RELEASED, (f"{TRAIN}/privateMetricsMicroEpsilon", 500_001)],
    ),
    ("training", "METRICS_UNPAID", [*RELEASED, ("/charges/1/metricsNoiseMicro", 0)]),
    ("training", "METRIC_NOT_LENT", [*RELEASED, granted(1, "mse")]),
    ("training", "METRICS_WITHHELD", [(f"{TRAIN}/metrics/0/on", "private")]),
    ("training", "MODEL_NOT_ALLOWED", [(f"{TRAIN}/model", "xgboost")]),
    ("training", "OTHER_CONTRACT", [("/pipeline/contract", OTHER)]),
    ("training", "PARAMETERS_EXCEEDED", [(f"{TRAIN}/parameters", 10_000_001)]),
    ("training", "PRIVACY_NOT_POSITIVE", [(f"{TRAIN}/privacy/deltaTrillionths", 0)]),
    ("training", "PRIVACY_PARAMS_MISSING", [(f"{TRAIN}/privacy", REMOVED)]),
    ("training", "PRIVACY_REQUIRED", [(f"{TRAIN}/isPrivate", False)]),
    ("training", "STAGE_INPUT_DIFFERS", [(f"{TRAIN}/datasets", ["mri-a"])]),
    ("training", "STAGE_ORDER", [("/pipeline/stages/1", REMOVED)]),
    ("training", "STAGE_UNKNOWN", [("/pipeline/stages/0/name", "SparkJoin")]),
    ("training", "STEPS_EXCEEDED", [(f"{TRAIN}/steps", 1001)]),
    ("training", "UNIT_MISMATCH", [(f"{TRAIN}/privacy/unit", "record")]),
    ("attestation", "BOUND_TO_OTHER_CONTRACT", [("/claims/bound/contract", OTHER)]),
    ("attestation", "BOUND_TO_OTHER_NONCE", [("/claims/bound/nonce", OTHER)]),
    ("attestation", "BOUND_TO_OTHER_PIPELINE", [("/claims/bound/pipeline", OTHER)]),
    ("attestation", "BOUND_TO_OTHER_RUN", [("/claims/bound/run", "run-other")]),
    ("attestation", "EVIDENCE_COMPLIANCE", [("/claims/compliance", "")]),
    ("attestation", "EVIDENCE_DEBUGGABLE", [("/claims/debuggable", True)]),
    ("attestation", "EVIDENCE_EXPIRED", [("/claims/expiresAt", NOW_US)]),
    ("attestation", "EVIDENCE_FROM_FUTURE", [("/claims/issuedAt", NOW_US + 60_000_000)]),
    ("attestation", "EVIDENCE_GUEST_SVN", [("/claims/guestSvn", 99)]),
    ("attestation", "EVIDENCE_HOST_DATA", [("/claims/hostData", "e" * 64)]),
    ("attestation", "EVIDENCE_ISSUER", [("/claims/issuer", "https://other.example")]),
    ("attestation", "EVIDENCE_MEASUREMENT", [("/contract/attestation/measurements/-", "d" * 96)]),
    ("attestation", "EVIDENCE_MIGRATABLE", [("/claims/migratable", True)]),
    ("attestation", "EVIDENCE_TCB", [("/contract/attestation/minimumTcb/snp", 25)]),
    ("attestation", "EVIDENCE_TOO_OLD", [("/claims/issuedAt", NOW_US - 600_000_001)]),
    ("attestation", "EVIDENCE_TYPE", [("/claims/type", "sgx")]),
    ("attestation", "EVIDENCE_VMPL", [("/claims/vmpl", 1)]),
    ("attestation", "POLICY_MISMATCH", [("/contract/policy/digest", OTHER)]),
    ("attestation", "RELEASE_KEY_MISSING", [("/claims/keys", ["report"])]),
    ("attestation", "REPORT_KEY_MISSING", [("/claims/keys", ["release"])]),
    ("release", "APPROVAL_EXPIRED", [("/approvals/0/expiresAt", NOW_US)]),
    ("release", "APPROVAL_FROM_FUTURE", [("/approvals/0/approvedAt", NOW_US + 60_000_000)]),
    ("release", "APPROVAL_MISSING", [("/approvals", [])]),
    ("release", "APPROVAL_OF_OTHER_RUN", [("/approvals/0/pipeline", OTHER)]),
    ("release", "APPROVAL_WITHOUT_CHARGE", [("/approvals/0/charged/0", REMOVED)]),
    ("release", "BUDGET_NOT_RESERVED", [("/run/reserved/0", REMOVED)]),
    ("release", "CONTRACT_EXPIRED", [("/contract/expiresAt", NOW_US)]),
    ("release", "CONTRACT_NOT_EXECUTED", [("/executed", False)]),
    ("release", "CONTRACT_REVOKED", [("/revokedBy/-", "did:web:x")]),
    ("release", "KEYS_MISSING", [("/request/keys", [])]),
    ("release", "KEY_AT_OTHER_VAULT", [("/request/keys/0/vault", "https://vault-c.example")]),
    ("release", "KEY_NOT_IN_CONTRACT", [("/request/keys/0/digest", OTHER)]),
    ("release", "KEY_NOT_READ", [("/run/reads/datasets", ["mri-b"])]),
    ("release", "KEY_OF_OTHER_FILE", [("/request/keys/0/name", "other-key")]),
    ("release", "KEY_REPEATED", [("/request/keys/-", ASKED)]),
    ("release", "NONCE_USED", [("/request/nonceUsedWith/-", OTHER)]),
    ("release", "OTHER_CONTRACT", [("/run/contract", OTHER)]),
    ("release", "RUN_STATE", [("/run/state", "completed")]),
    ("contract", "BASE_MODEL_DUPLICATE", [("/contract/baseModels/-", GOOD_BASE)]),
    ("contract", "GRANT_EMPTY", [("/contract/outputs", [])]),
    ("contract", "PARTY_RULE_DIGEST", [("/contract/policy/partyRules/-", {**RULE, "digest": "x"})]),
    ("contract", "PARTY_RULE_DUPLICATE", [("/contract/policy/partyRules", [RULE, RULE])]),
    (
        "contract",
        "PARTY_RULE_OF_STRANGER",
        [("/contract/policy/partyRules/-", {**RULE, "provider": "did:web:x"})],
    ),
    ("contract", "PLACEHOLDER_LEFT", [("/contract/unfilled/-", "/title")]),
    ("contract", "PROVIDER_WITHOUT_DATA", [("/contract/datasets/1/provider", HOSPITAL_A)]),
    ("contract", "UNITS_NOT_POSITIVE", [("/contract/datasets/0/units", 0)]),
    ("training", "CHARGES_DIFFER", [("/charges/0", REMOVED)]),
    ("training", "CHARGE_OF_OTHER_CONSUMER", [("/charges/0/tdc", "did:web:x")]),
    ("training", "EPOCHS_EXCEEDED", [("/contract/privacy/0/maxEpochs", 18)]),
    ("training", "FOREIGN_TEXT", [("/pipeline/foreignTexts/-", "/pipeline/1/config/device")]),
    ("training", "INPUTS_DIFFER", [("/pipeline/inputs/0/id", "mri-z")]),
    ("training", "INPUT_DIGEST_DIFFERS", [("/pipeline/inputs/0/digest", OTHER)]),
    ("training", "INPUT_NOT_READ_ONLY", [("/pipeline/inputs/0/access", "write")]),
    ("training", "LOSS_MISSING", [(f"{TRAIN}/losses", [])]),
    ("training", "LOSS_NOT_ALLOWED", [(f"{TRAIN}/losses/0", "torch.os.system")]),
    ("training", "MECHANISM_DIFFERS", [("/charges/0/steps", 99)]),
    ("training", "METRIC_NOT_ALLOWED", [(f"{TRAIN}/metrics/0/name", "auroc")]),
    (
        "training",
        "NOISE_TOO_SMALL",
        [("/contract/privacy/1/minNoiseMicro", 900_001)],
    ),
    ("training", "OUTPUT_NOT_ALLOWED", [(f"{TRAIN}/output", "pickle")]),
    ("training", "SAMPLES_PER_UNIT_EXCEEDED", [(f"{TRAIN}/samplesPerUnit", 65)]),
    (
        "training",
        "SAMPLING_RATE_EXCEEDED",
        [("/contract/privacy/0/maxSamplingBillionths", 181_818_181)],
    ),
    ("training", "UNIT_GRADIENT_UNKNOWN", [(f"{TRAIN}/unitGradient", "sum")]),
]

WARNED: list[tuple[str, str, list[Change]]] = [
    ("contract", "CONTRACT_EXPIRES_SOON", [("/contract/expiresAt", NOW_US + 86_400_000_000)]),
    ("contract", "TOTAL_DELTA_GRANTS_A_RECORD", [
        ("/contract/privacy/0/total/deltaTrillionths", 10**10),
        ("/contract/privacy/0/overall/deltaTrillionths", 10**10),
    ]),
    ("training", "BUDGET_NEARLY_SPENT", [("/budgets/0/tdcAfter", 15_000_000)]),
    ("attestation", "EVIDENCE_EXPIRES_SOON", [("/claims/expiresAt", NOW_US + 1_000_000)]),
]  # fmt: skip


def bend(entrypoint: str, changes: list[Change]) -> bytes:
    facts = copy.deepcopy(case(entrypoint))
    for pointer, value in changes:
        change(facts, pointer, value, remove=value is REMOVED)
    return document(facts)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_good_facts_are_allowed_without_reason_or_warning(policy: Policy, entrypoint: str) -> None:
    decision = policy.evaluate(entrypoint, document(case(entrypoint)))  # type: ignore[arg-type]  # one of the four names
    assert (decision.allow, decision.reasons, decision.warnings) == (True, (), ())


def test_metrics_that_both_data_sets_grant_may_leave(policy: Policy) -> None:
    decision = policy.evaluate("training", bend("training", RELEASED))
    assert (decision.allow, decision.reasons, decision.warnings) == (True, (), ())


@pytest.mark.parametrize(("entrypoint", "code", "changes"), DENIED)
def test_a_change_is_denied_for_its_reason(
    policy: Policy, entrypoint: Any, code: str, changes: list[Change]
) -> None:
    decision = policy.evaluate(entrypoint, bend(entrypoint, changes))
    assert not decision.allow
    assert code in {reason.code for reason in decision.reasons}


@pytest.mark.parametrize(("entrypoint", "code", "changes"), WARNED)
def test_a_change_is_warned_of_and_allowed(
    policy: Policy, entrypoint: Any, code: str, changes: list[Change]
) -> None:
    decision = policy.evaluate(entrypoint, bend(entrypoint, changes))
    assert decision.allow
    assert {warning.code for warning in decision.warnings} == {code}


def test_rules_explanations_and_tests_know_the_same_codes(policy: Policy) -> None:
    given: set[str] = set()
    for path, text in policy.bundle.files.items():
        module = parse_module(path, text) if path.endswith(".rego") else None
        if isinstance(module, Module):
            for kind, node in walk(module.tree["rules"]):
                if kind == "Call" and (dotted(node["fcn"]) or "").endswith("reason"):
                    first = node["params"][0]
                    given |= {first["String"]["value"]} if "String" in first else set()
    tested = {code for _, code, _ in DENIED + WARNED + table_reasons.DENIED}
    assert given == set(policy.bundle.codes) - ENGINE_CODES == tested


def test_shipped_policies_are_found_in_their_folder() -> None:
    with as_file(files("policies") / "rego") as folder:
        found = read_folder(folder)
    assert {p for p in found if not p.endswith("_test.rego")} == set(load_bundle().files)
