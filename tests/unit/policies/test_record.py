from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from policies.bundle import Bundle, load_bundle
from policies.decide import Policy
from policies.errors import PolicyError, PolicyMismatchError, PolicyUnavailableError
from policies.record import record, replay
from policies.wire.base import sha256
from policies.wire.decision import DecisionRecord, Entrypoint, Mark
from policies.wire.pipeline import Pipeline
from tests.unit.policies.good import (
    NOW,
    RUN,
    attestation_case,
    contract_case,
    other_bundle,
    pipeline_document,
    release_case,
    training_case,
)

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


def test_a_record_lists_each_code_once_for_each_place(policy: Policy) -> None:
    facts = training_case().model_copy(update={"executed": False, "revoked_by": ("a", "b")})
    decision = policy.training(facts)
    entry = record(decision, facts, salt=SALT, decision_id="dec-2", decided_at=NOW)
    assert len(decision.reasons) == 3
    assert entry.reasons == (
        Mark(code="CONTRACT_NOT_EXECUTED", path="/contract"),
        Mark(code="CONTRACT_REVOKED", path="/contract"),
    )
    assert entry.codes == ("CONTRACT_NOT_EXECUTED", "CONTRACT_REVOKED")


def test_a_record_says_where_and_by_how_much_but_not_in_words(policy: Policy) -> None:
    asked = pipeline_document()
    asked["pipeline"][1]["config"]["privacyParams"]["epsilon"] = 9.5
    facts = training_case(asked)
    decision = policy.training(facts)
    entry = record(decision, facts, salt=SALT, decision_id="dec-3", decided_at=NOW)
    place = "/pipeline/1/config/privacyParams/epsilon"
    assert Mark(code="EPSILON_EXCEEDED", path=place) in entry.reasons
    assert entry.facts is not None
    assert entry.facts["/pipeline/stages/1/privacy/microEpsilon"] == 9_500_000
    assert entry.facts["/contract/privacy/0/run/microEpsilon"] == 8_000_000
    assert all(reason.msg.encode() not in entry.canonical() for reason in decision.reasons)


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


OTHER = "sha256:" + "0" * 64
FORGED: tuple[tuple[dict[str, object], str], ...] = (
    ({"allow": False}, "replayed allow True"),
    ({"reasons": (Mark(code="EPSILON_EXCEEDED", path=""),)}, "replayed allow True"),
    ({"warnings": (Mark(code="CONTRACT_EXPIRES_SOON", path=""),)}, "replayed allow True"),
    ({"contract": OTHER}, "its contract is not"),
    ({"pipeline": OTHER}, "its pipeline is not"),
    ({"party_rules": (OTHER,)}, "its party rules is not"),
    ({"facts": {}}, "its shown facts is not"),
    ({"facts": {"/executed": 1}}, "its shown facts is not"),
)


@pytest.mark.parametrize(("forged", "why"), FORGED)
def test_a_forged_record_does_not_replay(
    policy: Policy, forged: dict[str, object], why: str
) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match=why):
        replay(entry.model_copy(update=forged), facts, salt=SALT, bundle=load_bundle())


@pytest.mark.parametrize("case", [attestation_case, release_case])
@pytest.mark.parametrize("forged", [{"run": "run-" + "b" * 26}, {"pipeline": OTHER}])
def test_a_record_of_another_run_does_not_replay(
    policy: Policy, case: Callable[[], Any], forged: dict[str, object]
) -> None:
    facts = case()
    decide = policy.attestation if case is attestation_case else policy.release
    entry = record(
        decide(facts),
        facts,
        salt=SALT,
        decision_id="dec-4",
        pipeline=Pipeline.from_json(pipeline_document()).digest(),
        run=RUN,
        decided_at=NOW,
    )
    replay(entry, facts.canonical(), salt=SALT, bundle=load_bundle())
    with pytest.raises(PolicyError, match="is not that of its facts"):
        replay(entry.model_copy(update=forged), facts.canonical(), salt=SALT, bundle=load_bundle())


def test_a_record_that_shows_no_facts_replays(policy: Policy) -> None:
    entry, facts = recorded(policy)
    hidden = entry.model_copy(update={"facts": None})
    again = replay(hidden, facts, salt=SALT, bundle=load_bundle())
    assert again is not None
    assert again.allow


@dataclass(frozen=True)
class Failing:
    """An engine that cannot decide."""

    error: PolicyError
    name: str = "failing-1.0"

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> NoReturn:
        del bundle, entrypoint, document, terms
        raise self.error


FAILURES = (
    PolicyError("no decision"),
    PolicyUnavailableError("no answer"),
    PolicyMismatchError("another policy"),
)


def failed(error: PolicyError) -> tuple[DecisionRecord, bytes]:
    return recorded(Policy(load_bundle(), Failing(error)))


@pytest.mark.parametrize("error", FAILURES)
def test_a_failed_engine_is_a_recorded_denial_that_cannot_be_made_again(
    error: PolicyError,
) -> None:
    entry, facts = failed(error)
    assert (entry.allow, entry.codes) == (False, (error.reason,))
    assert replay(entry, facts, salt=SALT, bundle=load_bundle()) is None


def test_a_failure_that_comes_again_is_made_again() -> None:
    entry, facts = failed(FAILURES[0])
    again = replay(entry, facts, salt=SALT, bundle=load_bundle(), engine=Failing(FAILURES[0]))
    assert again is not None
    assert again.undecided


@pytest.mark.parametrize(
    "forged",
    [
        {"allow": True},
        {"reasons": (Mark(code="POLICY_ERROR", path=""), Mark(code="PURPOSE_OTHER", path=""))},
        {"reasons": (Mark(code="POLICY_ERROR", path="/purpose"),)},
        {"reasons": (Mark(code="EPSILON_EXCEEDED", path=""),)},
        {"contract": OTHER},
    ],
)
def test_a_failure_is_nothing_but_a_denial(forged: dict[str, object]) -> None:
    entry, facts = failed(FAILURES[0])
    with pytest.raises(PolicyError):
        replay(entry.model_copy(update=forged), facts, salt=SALT, bundle=load_bundle())


def test_an_allowing_decision_is_not_replayed_by_an_engine_that_fails(policy: Policy) -> None:
    entry, facts = recorded(policy)
    with pytest.raises(PolicyError, match="replayed allow False with"):
        replay(entry, facts, salt=SALT, bundle=load_bundle(), engine=Failing(FAILURES[0]))
