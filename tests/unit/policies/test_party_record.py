"""Decisions in which a provider's own rules were asked: recorded, and made again."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from policies.bundle import load_bundle
from policies.decide import Policy
from policies.errors import PolicyError
from policies.facts import ContractFacts
from policies.party import PartyRules
from policies.record import record, replay
from policies.wire.base import sha256
from policies.wire.decision import Decision, DecisionRecord, Mark
from tests.party import module
from tests.samples import did
from tests.unit.policies.good import NOW, contract, contract_case, contract_document

SALT = bytes(range(16))
SILENT, DENYING = module("false"), module(path='"/contract/datasets/0"')
FAILED = Mark(code="PARTY_RULE_FAILED", path="/policy/partyRules/0")


class Failing:
    """Rules that take too long for the machine that they are on."""

    def evaluate(self, text: str, *, package: str, document: str) -> NoReturn:
        del text, package, document
        raise PolicyError("it took too long")


def facts_of(data: bytes) -> ContractFacts:
    document = contract_document()
    rule = {"provider": did("Hospital-A"), "name": "hospital_a", "digest": sha256(data)}
    document["policy"]["partyRules"] = [rule]
    return contract_case(contract(document))


def recorded(policy: Policy, facts: ContractFacts) -> DecisionRecord:
    return record(policy.contract(facts), facts, salt=SALT, decision_id="dec-1", decided_at=NOW)


def again(entry: DecisionRecord, facts: ContractFacts, *texts: bytes) -> Decision | None:
    rules = {sha256(text): text for text in texts}
    return replay(entry, facts.canonical(), salt=SALT, bundle=load_bundle(), rules=rules)


def test_a_denial_by_rules_is_recorded_without_words_and_made_again(policy: Policy) -> None:
    facts = facts_of(DENYING)
    entry = recorded(policy.with_rules({sha256(DENYING): DENYING}), facts)
    assert entry.reasons == (Mark(code="PARTY_ANYTHING", path="/datasets/0"),)
    assert entry.party_rules == (sha256(DENYING),)
    assert again(entry, facts, DENYING, b"another document") is not None


def test_an_approval_is_not_made_again_without_the_text(policy: Policy) -> None:
    facts = facts_of(SILENT)
    entry = recorded(policy.with_rules({sha256(SILENT): SILENT}), facts)
    assert entry.allow
    assert again(entry, facts, SILENT) is not None
    with pytest.raises(PolicyError, match="PARTY_RULE_UNKNOWN"):
        again(entry, facts)


def test_an_approval_against_the_rules_is_found(policy: Policy) -> None:
    facts = facts_of(DENYING)
    entry = recorded(policy.with_rules({sha256(DENYING): DENYING}), facts)
    with pytest.raises(PolicyError, match="replayed allow False"):
        again(entry.model_copy(update={"allow": True, "reasons": ()}), facts, DENYING)


@pytest.mark.parametrize("data", [SILENT, DENYING])
def test_rules_that_had_failed_cannot_be_made_again(policy: Policy, data: bytes) -> None:
    facts = facts_of(data)
    failing = replace(policy, party=PartyRules(Failing(), {sha256(data): data}))
    entry = recorded(failing, facts)
    assert entry.reasons == (FAILED,)
    assert again(entry, facts, data) is None


def test_what_else_had_denied_must_deny_again(policy: Policy) -> None:
    facts = facts_of(SILENT)
    failing = replace(policy, party=PartyRules(Failing(), {sha256(SILENT): SILENT}))
    entry = recorded(failing, facts)
    forged = (FAILED, Mark(code="PURPOSE_NOT_ALLOWED", path="/purpose"))
    with pytest.raises(PolicyError, match="replayed allow True"):
        again(entry.model_copy(update={"reasons": forged}), facts, SILENT)


def test_a_failure_is_never_an_approval(policy: Policy) -> None:
    facts = facts_of(DENYING)
    failing = replace(policy, party=PartyRules(Failing(), {sha256(DENYING): DENYING}))
    entry = recorded(failing, facts).model_copy(update={"allow": True})
    with pytest.raises(PolicyError, match="recorded allow True"):
        again(entry, facts, DENYING)
