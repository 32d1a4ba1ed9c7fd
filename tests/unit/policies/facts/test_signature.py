from __future__ import annotations

import hashlib

import pytest

from ledger.identity import Identity
from ledger.statement import verify_statement
from policies.decide import Policy
from policies.facts import Signed, contract_facts
from policies.facts.numbers import LARGEST
from policies.facts.signature import signature_facts
from tests.unit.ledger.makers import NOW as SIGNING
from tests.unit.ledger.makers import SUBJECT, YEAR, enclave, party
from tests.unit.policies.good import NOW, contract, signed


def _statement(issuer: Identity) -> Signed:
    encoded = issuer.issue(
        payload_hash=hashlib.sha256(b"").digest(),
        kind="signature",
        subject=SUBJECT,
        issued_at=SIGNING,
    )
    return Signed.by(verify_statement(encoded))


def test_a_signature_carries_the_validity_of_its_certificates() -> None:
    assert _statement(party("Hospital-A")) == Signed(SIGNING, SIGNING - YEAR, SIGNING + YEAR)


def test_a_key_without_certificates_is_valid_at_all_times() -> None:
    made = _statement(enclave())
    (facts,) = signature_facts({"did:jwk:a": made})
    assert (facts.key_valid_from, facts.key_valid_until) == (0, LARGEST)


def test_periods_beyond_what_facts_can_say_are_cut() -> None:
    always = Signed(SIGNING, -(10**9), 253_402_300_799)
    (facts,) = signature_facts({"did:web:a": always})
    assert (facts.key_valid_from, facts.key_valid_until) == (0, LARGEST)


@pytest.mark.parametrize(
    ("starts", "ends", "allowed"),
    [
        (NOW - 1000, NOW - 1000, True),
        (NOW - 999, NOW, False),
        (0, NOW - 1001, False),
        (NOW, NOW - 2000, False),
    ],
)
def test_a_signature_counts_only_within_the_validity_of_its_key(
    policy: Policy, starts: int, ends: int, allowed: bool
) -> None:
    agreed = contract()
    signatures = {party.id: signed() for party in agreed.parties}
    signatures[agreed.tdps[1].id] = Signed(NOW - 1000, starts, ends)
    decision = policy.contract(
        contract_facts(agreed, signatures=signatures, executed=True, revoked_by=(), now=NOW)
    )
    assert decision.allow is allowed
    found = {(reason.code, reason.path) for reason in decision.reasons}
    assert found == (set() if allowed else {("SIGNATURE_KEY_NOT_VALID", "/tdps/1")})
