from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from policies.bundle import Bundle, load_bundle
from policies.decide import Policy
from policies.engine import Verdict
from policies.engine.protocol import JudgedBy, RawReason
from policies.errors import PolicyError, PolicyMismatchError, PolicyUnavailableError
from policies.wire.decision import Decision, Entrypoint
from tests.unit.policies.good import (
    ENTRYPOINTS,
    attestation_case,
    case,
    change,
    contract_case,
    document,
    other_bundle,
    release_case,
    training_case,
)

SHIPPED = JudgedBy(id="depa", version=load_bundle().version)


@dataclasses.dataclass(frozen=True)
class Answering:
    """An engine that answers what it is told to."""

    verdict: Verdict
    name: str = "answering-1.0"

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> Verdict:
        assert terms in document
        assert bundle == load_bundle()
        assert entrypoint == "contract"
        assert document.startswith(b"{")
        return self.verdict


def answering(
    *, allow: bool, reasons: tuple[RawReason, ...] = (), policy: JudgedBy = SHIPPED
) -> Policy:
    verdict = Verdict(allow=allow, reasons=reasons, warnings=(), policy=policy)
    return Policy(load_bundle(), Answering(verdict))


@pytest.mark.parametrize("facts", [contract_case, training_case, attestation_case, release_case])
def test_a_bundle_that_the_contract_does_not_name_denies(facts: Callable[[], object]) -> None:
    entrypoint = facts.__name__.removesuffix("_case")
    policy = Policy.embedded(other_bundle())
    decision: Decision = getattr(policy, entrypoint)(facts())
    assert not decision.allow
    digest, version = decision.reasons
    assert digest.code == version.code == "POLICY_MISMATCH"
    assert load_bundle().digest in digest.msg
    assert other_bundle().digest in digest.msg
    assert version.msg.endswith("version 1.0.0, judged by 1.0.1")


def test_facts_cannot_say_which_policy_judges(policy: Policy) -> None:
    facts = case("contract") | {"bundle": {"digest": "sha256:" + "0" * 64, "version": "9.9.9"}}
    assert policy.evaluate("contract", document(facts)).allow
    facts["contract"]["policy"]["digest"] = facts["bundle"]["digest"]
    assert not policy.evaluate("contract", document(facts)).allow


def test_facts_cannot_say_what_was_found_about_the_terms(policy: Policy) -> None:
    facts = case("contract") | {"prepared": {"complete": True, "deny": [], "warn": []}}
    facts["contract"]["purpose"] = "MARKETING"
    decision = policy.evaluate("contract", document(facts))
    assert [reason.code for reason in decision.reasons] == ["PURPOSE_NOT_ALLOWED"]


def test_a_decision_names_policy_and_engine(policy: Policy) -> None:
    decision = policy.training(training_case())
    assert decision.policy == load_bundle().digest
    assert decision.policy_version == load_bundle().version
    assert decision.engine.startswith("regorus-")
    assert Decision.parse(decision.canonical()) == decision


def test_reasons_are_sorted_by_place(policy: Policy) -> None:
    facts = case("contract")
    change(facts, "/contract/schemaVersion", "0.1")
    change(facts, "/contract/purpose", "MARKETING")
    change(facts, "/revokedBy/-", "did:web:x")
    reasons = policy.evaluate("contract", document(facts)).reasons
    assert [reason.path for reason in reasons] == ["", "/purpose", "/schemaVersion"]


def test_a_very_long_reason_is_cut(policy: Policy) -> None:
    facts = case("contract")
    change(facts, "/contract/purpose", "x" * 5000)
    (reason,) = policy.evaluate("contract", document(facts)).reasons
    assert len(reason.msg) == 2000


def failure(decision: Decision, code: str) -> str:
    """Return what a denial for the sake of the engine says."""
    assert not decision.allow
    (reason,) = decision.reasons
    assert (reason.code, reason.path) == (code, "")
    assert (decision.policy, decision.warnings) == (load_bundle().digest, ())
    return reason.msg


def test_allowing_with_reasons_denies() -> None:
    reason = RawReason(code="CODE", path="", msg="why")
    decision = answering(allow=True, reasons=(reason,)).contract(contract_case())
    assert "got allow True with 1" in failure(decision, "POLICY_ERROR")


def test_a_denial_without_a_reason_is_given_one() -> None:
    decision = answering(allow=False).contract(contract_case())
    assert "got allow False with 0" in failure(decision, "POLICY_ERROR")


@pytest.mark.parametrize("other", [("other", SHIPPED.version), ("depa", "9.9.9")])
def test_a_decision_of_another_policy_denies(other: tuple[str, str]) -> None:
    judged_by = JudgedBy(id=other[0], version=other[1])
    decision = answering(allow=True, policy=judged_by).contract(contract_case())
    assert f"got one of {' '.join(other)}" in failure(decision, "POLICY_MISMATCH")


def test_a_malformed_reason_denies_with_a_well_formed_one() -> None:
    reason = RawReason(code="not a code", path="", msg="why")
    decision = answering(allow=False, reasons=(reason,)).contract(contract_case())
    assert "well-formed reasons" in failure(decision, "POLICY_ERROR")


@pytest.mark.parametrize("facts", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b'{"a":NaN}'])
def test_facts_that_are_no_strict_json_object_are_denied(policy: Policy, facts: bytes) -> None:
    assert failure(policy.evaluate("contract", facts), "POLICY_ERROR").startswith("facts: ")


@dataclasses.dataclass(frozen=True)
class Failing:
    """An engine that only ever raises."""

    error: Exception
    name: str = "failing-1.0"

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> Verdict:
        assert terms in document
        assert (bundle, entrypoint in ENTRYPOINTS, document[:1]) == (load_bundle(), True, b"{")
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyError("an error"), "POLICY_ERROR"),
        (PolicyUnavailableError("no answer"), "POLICY_UNAVAILABLE"),
        (PolicyMismatchError("another bundle"), "POLICY_MISMATCH"),
    ],
)
@pytest.mark.parametrize("facts", [contract_case, training_case, attestation_case, release_case])
def test_an_engine_that_fails_denies_and_says_how(
    facts: Callable[[], object], error: PolicyError, code: str
) -> None:
    entrypoint: Any = facts.__name__.removesuffix("_case")
    policy = Policy(load_bundle(), Failing(error))
    decisions = [
        getattr(policy, entrypoint)(facts()),
        policy.evaluate(entrypoint, document(case(entrypoint))),
    ]
    for decision in decisions:
        assert failure(decision, code) == str(error)
        assert (decision.entrypoint, decision.engine) == (entrypoint, "failing-1.0")


@pytest.mark.parametrize("error", [KeyError("secret"), MemoryError("secret"), OSError("secret")])
def test_an_engine_with_a_bug_denies_without_the_text_of_the_bug(error: Exception) -> None:
    decision = Policy(load_bundle(), Failing(error)).contract(contract_case())
    message = failure(decision, "POLICY_ERROR")
    assert type(error).__name__ in message
    assert "secret" not in message


def test_a_very_long_failure_is_cut() -> None:
    policy = Policy(load_bundle(), Failing(PolicyError("x" * 5000)))
    assert len(failure(policy.contract(contract_case()), "POLICY_ERROR")) == 2000


def test_every_code_is_explained_with_who_can_fix_it(policy: Policy) -> None:
    for code in policy.bundle.codes:
        explained = policy.explain(code)
        assert explained.severity in {"deny", "warn"}
        assert explained.title
        assert explained.remedy.endswith(".")
        assert set(explained.fixed_by) <= {"tdc", "tdp", "ccrp", "operator"}
        assert explained.fixed_by


def test_an_unknown_code_is_an_error(policy: Policy) -> None:
    with pytest.raises(PolicyError, match="got 'NO_SUCH_CODE'"):
        policy.explain("NO_SUCH_CODE")
