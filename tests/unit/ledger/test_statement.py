from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import cose
from ledger.errors import FormatError, IdentityError, LedgerError, VerificationError
from ledger.identity import Identity, PrivateKey
from ledger.statement import (
    KINDS,
    MAX_STATEMENT_BYTES,
    attach_receipts,
    parse_statement,
    sign_statement,
    verify_statement,
)
from tests.unit.ledger.makers import NOW, P384, SUBJECT, YEAR, digest, enclave, party, signed

_Change = Callable[[dict[Any, Any]], object]


def _forge(
    signer: Identity,
    change: _Change = lambda _: None,
    *,
    payload: object = digest(b"{}"),
    unprotected: dict[Any, Any] | None = None,
    key: PrivateKey | None = None,
    ordered: bool = True,
) -> bytes:
    """A statement made by hand, with a valid signature over whatever is in it."""
    header: dict[Any, Any] = {
        1: -7,
        15: {1: signer.did, 2: SUBJECT, 6: NOW},
        33: list(signer.chain),
        258: -16,
        259: "application/vnd.depa.signature+json",
    }
    change(header)
    if ordered:
        header = dict(sorted(header.items(), key=lambda item: cbor2.dumps(item[0])))
    protected = cbor2.dumps(header)
    tbs = cbor2.dumps(["Signature1", protected, b"", payload])
    signature = cose.sign(tbs, key=key or signer.private_key)
    return cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected or {}, payload, signature]))


def test_statement_made_by_hand_is_the_one_made_here(hospital: Identity) -> None:
    forged, ours = (cbor2.loads(each).value for each in (_forge(hospital), signed(hospital)))
    assert forged[:3] == ours[:3]
    verify_statement(_forge(hospital))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(P384),
        Ed25519PrivateKey.generate(),
    ],
)
def test_statement_says_what_was_signed(key: PrivateKey) -> None:
    signer = party("Hospital B", key=key)
    data = signer.issue(
        payload_hash=digest(b"document"),
        kind="contract",
        subject=SUBJECT,
        issued_at=NOW,
        location="https://example.com/contract.json",
    )
    statement = verify_statement(data)
    assert statement.encoded == data
    assert statement.kind == "contract"
    assert statement.content_type == "application/vnd.depa.contract+json"
    assert statement.issuer == signer.did
    assert statement.subject == SUBJECT
    assert statement.issued_at == NOW
    assert statement.payload_hash == digest(b"document")
    assert statement.payload_digest == "sha256:" + hashlib.sha256(b"document").hexdigest()
    assert statement.x5chain == signer.chain
    assert statement.location == "https://example.com/contract.json"
    assert statement.leaf_hash == hashlib.sha256(b"\x00" + data).digest()


def test_statement_of_a_bare_key_names_it() -> None:
    signer = enclave()
    data = signed(signer, kind="run-report")
    unverified = parse_statement(data)
    assert unverified.x5chain == ()
    assert unverified.key_id == cose.thumbprint(signer.public_key)
    assert verify_statement(data).issuer == signer.did


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_signed_and_verified(hospital: Identity, kind: str) -> None:
    assert verify_statement(signed(hospital, kind=kind)).kind == kind


def test_every_changed_byte_is_refused(hospital: Identity) -> None:
    data = signed(hospital)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x01
        with pytest.raises(LedgerError):
            verify_statement(bytes(changed))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda h: h.pop(1), "algorithm", id="no algorithm"),
        pytest.param(lambda h: h.update({1: "ES256"}), "algorithm", id="algorithm as text"),
        pytest.param(lambda h: h.pop(15), "header 15", id="no claims"),
        pytest.param(lambda h: h[15].pop(1), "header 15", id="no issuer"),
        pytest.param(lambda h: h[15].pop(2), "header 15", id="no subject"),
        pytest.param(lambda h: h[15].pop(6), "header 15", id="no time"),
        pytest.param(lambda h: h[15].update({7: b"x"}), "header 15", id="another claim"),
        pytest.param(lambda h: h[15].update({1: 5}), "iss", id="issuer is a number"),
        pytest.param(lambda h: h[15].update({2: ""}), "sub", id="empty subject"),
        pytest.param(lambda h: h[15].update({2: "a b"}), "sub", id="subject with a space"),
        pytest.param(lambda h: h[15].update({2: "x" * 3000}), "sub", id="huge subject"),
        pytest.param(lambda h: h[15].update({6: -1}), "iat", id="negative time"),
        pytest.param(lambda h: h[15].update({6: 1 << 60}), "iat", id="time far away"),
        pytest.param(lambda h: h[15].update({6: True}), "iat", id="time is a boolean"),
        pytest.param(lambda h: h.pop(33), "certificates", id="neither certificates nor key id"),
        pytest.param(lambda h: h.update({33: []}), "x5chain", id="no certificate"),
        pytest.param(lambda h: h.update({33: [h[33][0]]}), "x5chain", id="one in an array"),
        pytest.param(lambda h: h.update({33: ["a", "b"]}), "x5chain", id="certificates as text"),
        pytest.param(lambda h: h.pop(258), "258", id="no hash algorithm"),
        pytest.param(lambda h: h.update({258: -43}), "258", id="SHA-384"),
        pytest.param(lambda h: h.pop(259), "259", id="no content type"),
        pytest.param(lambda h: h.update({259: "application/json"}), "259", id="any JSON"),
        pytest.param(
            lambda h: h.update({259: "application/vnd.depa.other+json"}), "259", id="unknown kind"
        ),
        pytest.param(
            lambda h: h.update({259: "application/vnd.depa.contract+json\n"}), "259", id="newline"
        ),
        pytest.param(lambda h: h.update({260: 1}), "260", id="location is a number"),
        pytest.param(lambda h: h.update({3: 50}), "unknown", id="content type of the payload"),
        pytest.param(lambda h: h.update({500: 1}), "unknown", id="unknown header"),
        pytest.param(lambda h: h.update({2: [33]}), "critical", id="critical header"),
        pytest.param(lambda h: h.update({4: "kid"}), "key id", id="key id as text"),
    ],
)
def test_malformed_header_is_refused(hospital: Identity, change: _Change, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        verify_statement(_forge(hospital, change))


@pytest.mark.parametrize(
    "payload", [b"", b"x" * 31, b"x" * 33, None], ids=["empty", "31", "33", "none"]
)
def test_payload_that_is_no_hash_is_refused(hospital: Identity, payload: bytes | None) -> None:
    with pytest.raises(FormatError, match="payload"):
        verify_statement(_forge(hospital, payload=payload))


def test_signature_by_another_key_is_refused(hospital: Identity) -> None:
    with pytest.raises(VerificationError, match="statement: signature"):
        verify_statement(_forge(hospital, key=party("Hospital A").private_key))


@pytest.mark.parametrize("algorithm", [-35, -8, -37, 0, 5])
def test_algorithm_that_does_not_go_with_the_key_is_refused(
    hospital: Identity, algorithm: int
) -> None:
    with pytest.raises(VerificationError, match="algorithm"):
        verify_statement(_forge(hospital, lambda h: h.update({1: algorithm})))


def test_certificates_of_another_party_are_refused(hospital: Identity) -> None:
    other = party("Hospital A")
    with pytest.raises(IdentityError, match="fingerprint"):
        verify_statement(
            _forge(hospital, lambda h: h.update({33: list(other.chain)}), key=other.private_key)
        )


def test_issuer_in_another_name_is_refused(hospital: Identity) -> None:
    did = hospital.did.replace("Hospital%20A", "Hospital%20B")
    with pytest.raises(IdentityError, match="subject O"):
        verify_statement(_forge(hospital, lambda h: h[15].update({1: did})))


def test_key_id_of_another_key_is_refused() -> None:
    signer = enclave()

    def change(header: dict[Any, Any]) -> None:
        header.pop(33)
        header.update({4: b"other"})

    with pytest.raises(VerificationError, match="key id"):
        verify_statement(_forge(signer, change))


def test_certificates_must_be_valid_at_the_time_of_the_statement() -> None:
    signer = party(not_before=NOW - 10, not_after=NOW + 10)
    verify_statement(signed(signer, issued_at=NOW))
    for issued_at in (NOW - 11, NOW + 11):
        with pytest.raises(IdentityError, match="validity"):
            verify_statement(signed(signer, issued_at=issued_at))


def test_certificates_must_be_valid_at_the_time_asked_for(hospital: Identity) -> None:
    data = signed(hospital)
    verify_statement(data, at=NOW + YEAR)
    with pytest.raises(IdentityError, match="validity"):
        verify_statement(data, at=NOW + YEAR + 1)


def test_unprotected_header_is_not_part_of_the_statement(hospital: Identity) -> None:
    plain = signed(hospital)
    dressed = attach_receipts(plain, receipts=[b"one", b"two"])
    assert parse_statement(dressed).receipts == (b"one", b"two")
    assert parse_statement(dressed).encoded == plain
    assert verify_statement(dressed) == verify_statement(plain)


def test_receipts_that_are_no_bytes_are_refused(hospital: Identity) -> None:
    for receipts in ("text", ["text"], 5):
        with pytest.raises(FormatError, match="394"):
            parse_statement(_forge(hospital, unprotected={394: receipts}))


def _replace(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def test_other_encodings_of_a_statement_are_refused(hospital: Identity) -> None:
    data = signed(hospital)
    body = data[1:]
    bad = {
        "trailing byte": data + b"\0",
        "untagged": body,
        "another tag": b"\xd1" + body,
        "tag in two bytes": b"\xd8\x12" + body,
        "indefinite array": b"\xd2\x9f" + body[1:] + b"\xff",
        "array length in two bytes": b"\xd2\x98\x04" + body[1:],
        "payload length in three bytes": _replace(
            data, b"\x58\x20" + digest(b"{}"), b"\x59\x00\x20" + digest(b"{}")
        ),
        "cut off": data[:-1],
        "empty": b"",
    }
    for name, each in bad.items():
        with pytest.raises(FormatError):
            pytest.fail(f"{name}: {verify_statement(each)}")


def test_other_encodings_of_the_header_are_refused(hospital: Identity) -> None:
    def reverse(header: dict[Any, Any]) -> None:
        items = list(header.items())
        header.clear()
        header.update(reversed(items))

    with pytest.raises(FormatError, match="deterministic"):
        verify_statement(_forge(hospital, reverse, ordered=False))
    original = _forge(hospital)
    protected = cbor2.loads(original).value[0]
    duplicate = b"\xa6\x01\x26\x01\x26" + protected[3:]
    for header in (duplicate, protected + b"\0", b"\xbf" + protected[1:] + b"\xff", b""):
        tbs = cbor2.dumps(["Signature1", header, b"", digest(b"{}")])
        signature = cose.sign(tbs, key=hospital.private_key)
        message = cbor2.CBORTag(18, [header, {}, digest(b"{}"), signature])
        with pytest.raises(FormatError):
            verify_statement(cbor2.dumps(message))


def test_statement_that_fits_no_entry_is_refused(hospital: Identity) -> None:
    data = _forge(hospital, lambda h: h.update({33: [*h[33], b"x" * MAX_STATEMENT_BYTES]}))
    with pytest.raises(FormatError, match="at most 65535"):
        parse_statement(data)
    with pytest.raises(FormatError, match="at most"):
        parse_statement(b"\xd2" + b"\0" * (2 << 20))


@pytest.mark.parametrize(
    "wrong",
    [
        {"payload_hash": b"short"},
        {"kind": "other"},
        {"kind": ""},
        {"subject": ""},
        {"subject": "a\nb"},
        {"issued_at": -1},
        {"location": ""},
    ],
)
def test_nothing_malformed_is_signed(hospital: Identity, wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "payload_hash": digest(b""),
        "kind": "contract",
        "subject": SUBJECT,
        "issued_at": NOW,
        "signer": hospital,
    }
    sign_statement(**good)
    with pytest.raises(FormatError):
        sign_statement(**good | wrong)
