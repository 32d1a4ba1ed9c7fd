from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from policies.bundle import Bundle, build, load_bundle
from policies.decide import Policy, record, replay
from policies.engine import Verdict
from policies.engine.protocol import RawReason
from policies.errors import PolicyError
from policies.wire.base import sha256
from policies.wire.decision import Decision, DecisionRecord, Entrypoint
from tests.unit.policies.good import (
    NOW,
    RUN,
    attestation_case,
    case,
    change,
    contract_case,
    document,
    release_case,
    training_case,
)

SALT = bytes(range(16))


@dataclasses.dataclass(frozen=True)
class Answering:
    """An engine that answers what it is told to."""

    verdict: Verdict
    name: str = "answering-1.0"

    def evaluate(self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes) -> Verdict:
        assert bundle == load_bundle()
        assert entrypoint == "contract"
        assert document.startswith(b"{")
        return self.verdict


def answering(*, allow: bool, reasons: tuple[RawReason, ...] = ()) -> Policy:
    return Policy(load_bundle(), Answering(Verdict(allow=allow, reasons=reasons, warnings=())))


def other_bundle() -> Bundle:
    codes = load_bundle().files["codes.json"].replace(b'"1.0.0"', b'"1.0.1"')
    return build({**load_bundle().files, "codes.json": codes})


@pytest.mark.parametrize("facts", [contract_case, training_case, attestation_case, release_case])
def test_a_bundle_that_the_contract_does_not_name_denies(facts: Callable[[], object]) -> None:
    entrypoint = facts.__name__.removesuffix("_case")
    policy = Policy.embedded(other_bundle())
    decision: Decision = getattr(policy, entrypoint)(facts())
    assert not decision.allow
    (reason,) = decision.reasons
    assert reason.code == "POLICY_MISMATCH"
    assert load_bundle().digest in reason.msg
    assert other_bundle().digest in reason.msg


def test_facts_cannot_say_which_policy_judges(policy: Policy) -> None:
    facts = case("contract") | {"bundle": {"digest": "sha256:" + "0" * 64, "version": "9.9.9"}}
    assert policy.evaluate("contract", document(facts)).allow
    facts["contract"]["policy"]["digest"] = facts["bundle"]["digest"]
    assert not policy.evaluate("contract", document(facts)).allow


def test_a_decision_names_policy_and_engine(policy: Policy) -> None:
    decision = policy.training(training_case())
    assert decision.policy == load_bundle().digest
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


def test_allowing_with_reasons_is_an_error() -> None:
    reason = RawReason(code="CODE", path="", msg="why")
    with pytest.raises(PolicyError, match="got allow True with 1"):
        answering(allow=True, reasons=(reason,)).contract(contract_case())


def test_denying_without_a_reason_is_an_error() -> None:
    with pytest.raises(PolicyError, match="got allow False with 0"):
        answering(allow=False).contract(contract_case())


def test_a_malformed_reason_is_an_error() -> None:
    reason = RawReason(code="not a code", path="", msg="why")
    with pytest.raises(PolicyError, match="well-formed reasons"):
        answering(allow=False, reasons=(reason,)).contract(contract_case())


@pytest.mark.parametrize("facts", [b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b'{"a":NaN}'])
def test_facts_that_are_no_strict_json_object_are_an_error(policy: Policy, facts: bytes) -> None:
    with pytest.raises(PolicyError, match=r"^facts:"):
        policy.evaluate("contract", facts)


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


def recorded(policy: Policy) -> tuple[DecisionRecord, bytes]:
    facts = training_case()
    entry = record(
        policy.training(facts),
        facts,
        salt=SALT,
        decision_id="dec-1",
        pipeline=facts.pipeline.digest,
        run=RUN,
        decided_at=NOW,
    )
    return entry, facts.canonical()


def test_a_record_holds_digests_and_no_values(policy: Policy) -> None:
    entry, facts = recorded(policy)
    assert entry.input_digest == sha256(SALT + facts)
    assert entry.contract == json.loads(facts)["contract"]["digest"]
    for secret in (b"mri-a", b"dice_score", b"did:x509", b"https://"):
        assert secret in facts
        assert secret not in entry.canonical()


def test_a_record_lists_each_code_once(policy: Policy) -> None:
    facts = training_case().model_copy(update={"executed": False, "revoked_by": ("a", "b")})
    decision = policy.training(facts)
    entry = record(decision, facts, salt=SALT, decision_id="dec-2", decided_at=NOW)
    assert len(decision.reasons) == 3
    assert entry.codes == ("CONTRACT_NOT_EXECUTED", "CONTRACT_REVOKED")


def test_a_recorded_decision_can_be_made_again(policy: Policy) -> None:
    entry, facts = recorded(policy)
    again = replay(entry, facts, salt=SALT, bundle=load_bundle())
    assert again == policy.training(training_case())


def test_a_short_salt_is_an_error(policy: Policy) -> None:
    facts = contract_case()
    with pytest.raises(PolicyError, match="salt: expected at least 16 bytes, got 8"):
        record(policy.contract(facts), facts, salt=bytes(8), decision_id="d", decided_at=NOW)


def test_a_replay_with_other_facts_is_refused(policy: Policy) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match="expected facts of"):
        replay(entry, facts.replace(b"mri-a", b"mri-x"), salt=SALT, bundle=load_bundle())


def test_a_replay_with_another_salt_is_refused(policy: Policy) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match="expected facts of"):
        replay(entry, facts, salt=SALT[::-1], bundle=load_bundle())


def test_a_replay_with_another_policy_is_refused(policy: Policy) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match="policy bundle: expected"):
        replay(entry, facts, salt=SALT, bundle=other_bundle())


@pytest.mark.parametrize("forged", [{"allow": False}, {"codes": ("EPSILON_EXCEEDED",)}])
def test_a_forged_record_does_not_replay(policy: Policy, forged: dict[str, object]) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match="replayed allow True"):
        replay(entry.model_copy(update=forged), facts, salt=SALT, bundle=load_bundle())
