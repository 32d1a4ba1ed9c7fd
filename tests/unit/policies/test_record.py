from __future__ import annotations

import json

import pytest

from policies.bundle import load_bundle
from policies.decide import Policy
from policies.errors import PolicyError
from policies.record import record, replay
from policies.wire.base import sha256
from policies.wire.decision import DecisionRecord
from tests.unit.policies.good import NOW, RUN, contract_case, other_bundle, training_case

SALT = bytes(range(16))


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
