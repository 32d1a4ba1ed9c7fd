from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import document
from ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from ledger.errors import FormatError, IdentityError
from ledger.identity import Identity
from ledger.statement import verify_statement
from ledger.trust import (
    MAX_KEYS,
    PURPOSE_OIDS,
    LogKeys,
    Purpose,
    TrustedLog,
    issue_log_keys,
    issue_root,
    log_subject,
    root_fingerprint,
)
from tests.unit.ledger.makers import (
    NOW,
    ORIGIN,
    P256,
    YEAR,
    certificate,
    key_usage,
    log_keys,
    name,
    signed,
)

_ROOT_KEY = ec.generate_private_key(P256)
_ROOT = issue_root(_ROOT_KEY, organization="Operator", not_before=NOW - YEAR, not_after=NOW + YEAR)
_PIN = root_fingerprint(_ROOT)


def _issue(origin: str = ORIGIN, *, not_after: int = NOW + YEAR) -> LogKeys:
    return issue_log_keys(
        _ROOT_KEY, root=_ROOT, origin=origin, not_before=NOW - YEAR, not_after=not_after
    )


@pytest.fixture(scope="module")
def issued() -> LogKeys:
    return _issue()


def _read(data: bytes, *, pin: str = _PIN, at: int = NOW) -> TrustedLog:
    return TrustedLog.from_document(data, root_fingerprint=pin, at=at)


def _changed(keys: LogKeys, **changes: Any) -> bytes:
    return document.encode(json.loads(keys.document) | changes)


def _part(keys: LogKeys, part: str) -> Any:
    return json.loads(keys.document)[part]


def test_document_yields_the_keys_that_the_log_signs_with(issued: LogKeys) -> None:
    log = _read(issued.document)
    assert log.origin == log.keys.origin == ORIGIN
    assert log.service == issued.identity.did
    assert log.root_fingerprint == _PIN
    assert list(log.keys.receipt_keys.values()) == [issued.receipt_key.public_key()]
    assert log.checkpoint_keys == (issued.checkpoint_key.public_key(),)
    note = sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)), key=issued.checkpoint_key)
    verify_checkpoint(note, origin=log.origin, keys=log.checkpoint_keys)
    assert verify_statement(signed(issued.identity)).issuer == log.service


def test_service_keeps_its_did_when_its_key_is_rotated(issued: LogKeys) -> None:
    assert _issue().identity.did == issued.identity.did


def test_retired_keys_stay_trusted_beside_the_new_ones(issued: LogKeys) -> None:
    new = _issue()
    both = _changed(
        new,
        **{each.value: [*_part(new, each.value), *_part(issued, each.value)] for each in Purpose},
    )
    log = _read(both)
    assert len(log.keys.receipt_keys) == len(log.checkpoint_keys) == 2


def test_another_root_is_refused(issued: LogKeys) -> None:
    other, _ = log_keys()
    with pytest.raises(IdentityError, match="root fingerprint"):
        _read(other.document)
    with pytest.raises(IdentityError, match="root fingerprint"):
        _read(issued.document, pin=_PIN.upper())
    with pytest.raises(IdentityError, match="root fingerprint"):
        _read(issued.document, pin="")


@pytest.mark.parametrize("purpose", list(Purpose))
def test_leaf_of_another_root_is_refused(issued: LogKeys, purpose: Purpose) -> None:
    other, _ = log_keys()
    with pytest.raises(IdentityError, match="issuer"):
        _read(_changed(issued, **{purpose.value: _part(other, purpose.value)}))


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("other", list(Purpose))
def test_leaf_serves_its_own_purpose_only(
    issued: LogKeys, purpose: Purpose, other: Purpose
) -> None:
    if purpose is other:
        _read(issued.document)
        return
    with pytest.raises(IdentityError, match="purpose"):
        _read(_changed(issued, **{purpose.value: _part(issued, other.value)}))


def test_receipt_key_cannot_speak_for_the_service(issued: LogKeys) -> None:
    chain = tuple(
        document.from_base64(each, what="", limit=5000)
        for each in (_part(issued, "receipt")[0], _part(issued, "root"))
    )
    with pytest.raises(IdentityError, match="extended key usage"):
        Identity(issued.identity.did, chain, issued.receipt_key)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_leaf_of_another_log_of_the_same_root_is_refused(issued: LogKeys, purpose: Purpose) -> None:
    other = _issue("other.example")
    with pytest.raises(IdentityError, match="log"):
        _read(_changed(issued, **{purpose.value: _part(other, purpose.value)}))


def test_origin_cannot_be_changed(issued: LogKeys) -> None:
    with pytest.raises(IdentityError, match="log"):
        _read(_changed(issued, origin="other.example"))


@pytest.mark.parametrize("at", [NOW - YEAR - 1, NOW + 11])
def test_document_outside_its_time_is_refused(at: int) -> None:
    keys = _issue(not_after=NOW + 10)
    _read(keys.document, at=NOW + 10)
    with pytest.raises(IdentityError, match="validity"):
        _read(keys.document, at=at)


def _leaf(
    purpose: Purpose,
    *,
    key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey,
    usage: x509.KeyUsage | None = None,
    purposes: tuple[str, ...] | None = None,
) -> str:
    oids = [x509.ObjectIdentifier(each) for each in purposes or (PURPOSE_OIDS[purpose],)]
    log = x509.UniformResourceIdentifier(log_subject(ORIGIN))
    der = certificate(
        key,
        subject=name("Operator", "leaf"),
        issuer=name("Operator", "DEPA service root"),
        signer=_ROOT_KEY,
        extensions=[
            (usage or key_usage(digital_signature=True), True),
            (x509.ExtendedKeyUsage(oids), True),
            (x509.SubjectAlternativeName([log]), False),
        ],
    )
    return document.to_base64(der)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_key_of_another_type_is_refused(issued: LogKeys, purpose: Purpose) -> None:
    right: dict[Purpose, Any] = dict.fromkeys(Purpose, ec.generate_private_key(P256))
    right[Purpose.CHECKPOINT] = Ed25519PrivateKey.generate()
    wrong: dict[Purpose, Any] = dict.fromkeys(Purpose, Ed25519PrivateKey.generate())
    wrong[Purpose.CHECKPOINT] = ec.generate_private_key(P256)
    _read(_changed(issued, **{purpose.value: [_leaf(purpose, key=right[purpose])]}))
    with pytest.raises(IdentityError, match="key"):
        _read(_changed(issued, **{purpose.value: [_leaf(purpose, key=wrong[purpose])]}))


def test_leaf_that_may_not_sign_is_refused(issued: LogKeys) -> None:
    leaf = _leaf(Purpose.RECEIPT, key=ec.generate_private_key(P256), usage=key_usage())
    with pytest.raises(IdentityError, match="digitalSignature"):
        _read(_changed(issued, receipt=[leaf]))


def test_leaf_for_two_purposes_is_refused(issued: LogKeys) -> None:
    both = (PURPOSE_OIDS[Purpose.RECEIPT], PURPOSE_OIDS[Purpose.STATEMENT])
    leaf = _leaf(Purpose.RECEIPT, key=ec.generate_private_key(P256), purposes=both)
    with pytest.raises(IdentityError, match="purpose"):
        _read(_changed(issued, receipt=[leaf]))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"version": "2.0"}, id="version"),
        pytest.param({"origin": 1}, id="origin is a number"),
        pytest.param({"origin": "a b"}, id="origin with a space"),
        pytest.param({"extra": 1}, id="unknown member"),
        pytest.param({"root": ""}, id="no root"),
        pytest.param({"root": "!"}, id="root is not base64"),
        pytest.param({"root": 1}, id="root is a number"),
        pytest.param({"receipt": []}, id="no receipt key"),
        pytest.param({"receipt": "x"}, id="receipt keys are no list"),
        pytest.param({"receipt": ["AAAA"]}, id="receipt key is no certificate"),
        pytest.param({"receipt": ["AAAA"] * (MAX_KEYS + 1)}, id="too many keys"),
        pytest.param({"receipt": ["A" * 100_000]}, id="huge certificate"),
    ],
)
def test_malformed_document_is_refused(issued: LogKeys, change: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        _read(_changed(issued, **change))


@pytest.mark.parametrize(
    "member", ["version", "origin", "root", "statement", "receipt", "checkpoint"]
)
def test_document_without_a_member_is_refused(issued: LogKeys, member: str) -> None:
    value = json.loads(issued.document)
    del value[member]
    with pytest.raises(FormatError, match=member):
        _read(document.encode(value))


def test_other_encodings_of_a_document_are_refused(issued: LogKeys) -> None:
    data = issued.document
    for each in (
        data + b"\n",
        b" " + data,
        data[:-1],
        b"",
        b"[]",
        json.dumps(json.loads(data)).encode(),
    ):
        with pytest.raises(FormatError):
            _read(each)
    with pytest.raises(FormatError, match="canonical"):
        _read(data.replace(b'{"checkpoint"', b'{"checkpoint":[],"checkpoint"', 1))


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "x" * 300])
def test_log_needs_a_name(origin: str) -> None:
    with pytest.raises(FormatError):
        _issue(origin)


def test_keys_are_not_issued_by_another_root_key() -> None:
    with pytest.raises(IdentityError):
        issue_log_keys(
            ec.generate_private_key(P256),
            root=_ROOT,
            origin=ORIGIN,
            not_before=NOW,
            not_after=NOW + 1,
        )


def test_keys_show_no_secret(issued: LogKeys) -> None:
    assert repr(issued) == f"LogKeys(origin={ORIGIN!r}, identity={issued.identity!r})"
