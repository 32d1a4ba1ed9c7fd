from __future__ import annotations

import pytest

from ledger.errors import IdentityError
from ledger.identity import Identity
from ledger.statement import verify_statement
from tests.unit.ledger.makers import NOW, enclave, party, signed


def test_identity_issues_statements_in_its_own_name(hospital: Identity) -> None:
    assert verify_statement(signed(hospital)).issuer == hospital.did


def test_same_statement_issued_again_is_the_same_bytes(hospital: Identity) -> None:
    assert signed(hospital) == signed(hospital)
    assert signed(hospital) != signed(hospital, issued_at=NOW + 1)


def test_identity_needs_the_private_half_of_its_did(hospital: Identity) -> None:
    with pytest.raises(IdentityError, match="private key"):
        Identity(hospital.did, hospital.chain, party("Hospital A").private_key)
    with pytest.raises(IdentityError, match="private key"):
        Identity(enclave().did, (), enclave().private_key)


def test_identity_shows_no_key(hospital: Identity) -> None:
    assert repr(hospital) == f"Identity(did={hospital.did!r})"


def test_identity_is_valid_for_a_time_only() -> None:
    late = party(not_before=NOW + 10)
    with pytest.raises(IdentityError, match="validity"):
        verify_statement(signed(late))
