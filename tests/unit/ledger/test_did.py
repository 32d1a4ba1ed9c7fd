from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ledger.did import did_jwk_for, did_x509_for, resolve_did, resolve_x509
from ledger.errors import IdentityError, LedgerError
from ledger.identity import Identity
from tests.unit.ledger.makers import (
    P256,
    P384,
    VECTORS,
    certificate,
    enclave,
    key_usage,
    name,
    party,
)

_CASES: list[dict[str, Any]] = json.loads((VECTORS / "did-x509/cases.json").read_bytes())["cases"]


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _chain(case: dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(map(_base64url, case["input"]["chain"]))


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["id"]) for c in _CASES if "document" in c["output"]]
)
def test_good_vector_resolves_to_its_document(case: dict[str, Any]) -> None:
    document = case["output"]["document"]
    resolved = resolve_x509(case["input"]["did"], chain=_chain(case))
    assert resolved.did == document["id"]
    assert resolved.may_sign == ("assertionMethod" in document)
    assert resolved.may_agree == ("keyAgreement" in document)
    assert isinstance(resolved.key, ec.EllipticCurvePublicKey)
    jwk = document["verificationMethod"][0]["publicKeyJwk"]
    numbers = resolved.key.public_numbers()
    got = [each.to_bytes(32, "big") for each in (numbers.x, numbers.y)]
    assert got == [_base64url(jwk["x"]), _base64url(jwk["y"])]


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["id"]) for c in _CASES if "error" in c["output"]]
)
def test_bad_vector_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(LedgerError):
        resolve_x509(case["input"]["did"], chain=_chain(case))


def test_vectors_are_all_there() -> None:
    assert len(_CASES) == 29


def test_key_that_may_only_agree_signs_nothing() -> None:
    case = next(case for case in _CASES if case["id"] == "key-agreement-only-leaf")
    with pytest.raises(IdentityError, match="digitalSignature"):
        resolve_did(case["input"]["did"], x5chain=_chain(case))


@pytest.fixture(scope="module")
def hospital() -> Identity:
    return party("Hospital Ä ~ 1:2")


def test_did_is_built_for_a_chain_and_resolves_to_its_leaf(hospital: Identity) -> None:
    assert hospital.did.endswith("::subject:O:Hospital%20%C3%84%20%7E%201%3A2")
    assert resolve_did(hospital.did, x5chain=hospital.chain) == hospital.public_key


def test_did_pins_every_field_asked_for(hospital: Identity) -> None:
    did = did_x509_for(hospital.chain, subject=("CN", "O"))
    assert "::subject:CN:Signing:O:Hospital" in did
    with pytest.raises(IdentityError, match="subject C"):
        did_x509_for(hospital.chain, subject=("C",))
    with pytest.raises(IdentityError, match="extended key usage"):
        did_x509_for(hospital.chain, eku="1.2.3")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%7E", "~"),
        ("%C3%84", "%c3%84"),
        ("O:Hospital", "O:%48ospital"),
        ("%C3%84", "%C3"),
        ("%20%C3", "+%C3"),
        ("O:Hospital", "O:hospital"),
        ("subject:O", "subject:CN"),
        ("::subject", ":subject"),
        ("x509:0:", "x509:1:"),
        ("did:x509", "did:X509"),
        ("::subject", "::nothing:x::subject"),
        ("::subject", "::::subject"),
    ],
)
def test_every_other_spelling_of_a_did_is_refused(hospital: Identity, old: str, new: str) -> None:
    assert old in hospital.did
    with pytest.raises(IdentityError):
        resolve_did(hospital.did.replace(old, new, 1), x5chain=hospital.chain)


@pytest.mark.parametrize(
    "suffix", ["#0", "?a=b", "/path", "::", "::subject", "::eku:x", "::san:ip:1"]
)
def test_nothing_may_follow_a_did(hospital: Identity, suffix: str) -> None:
    with pytest.raises(IdentityError):
        resolve_did(hospital.did + suffix, x5chain=hospital.chain)


def test_did_without_policy_is_refused(hospital: Identity) -> None:
    with pytest.raises(IdentityError, match="policy"):
        resolve_did(hospital.did.partition("::")[0], x5chain=hospital.chain)


def test_root_of_another_party_with_the_same_name_is_refused(hospital: Identity) -> None:
    impostor = party("Hospital Ä ~ 1:2")
    with pytest.raises(IdentityError, match="fingerprint"):
        resolve_did(hospital.did, x5chain=impostor.chain)


def test_leaf_with_two_organizations_is_refused() -> None:
    root, leaf = ec.generate_private_key(P256), ec.generate_private_key(P256)
    names = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, each) for each in ("A", "B")]
    chain = [
        certificate(leaf, subject=x509.Name(names), issuer=name("R", "R"), signer=root),
        certificate(
            root, subject=name("R", "R"), issuer=name("R", "R"), signer=root, authority=True
        ),
    ]
    with pytest.raises(IdentityError, match="one text value"):
        did_x509_for(chain)


def test_rsa_leaf_resolves_but_signs_nothing() -> None:
    root, leaf = ec.generate_private_key(P256), rsa.generate_private_key(65537, 2048)
    usage = (key_usage(digital_signature=True), True)
    chain = [
        certificate(
            leaf, subject=name("A", "L"), issuer=name("R", "R"), signer=root, extensions=[usage]
        ),
        certificate(
            root, subject=name("R", "R"), issuer=name("R", "R"), signer=root, authority=True
        ),
    ]
    with pytest.raises(IdentityError, match="key: expected"):
        resolve_did(did_x509_for(chain), x5chain=chain)


def test_did_jwk_resolves_to_its_key() -> None:
    identity = enclave()
    assert resolve_did(identity.did) == identity.public_key


def _jwk_did(**jwk: str) -> str:
    return "did:jwk:" + base64.urlsafe_b64encode(json.dumps(jwk).encode()).rstrip(b"=").decode()


def test_other_spellings_of_a_did_jwk_are_refused() -> None:
    did = enclave().did
    jwk = json.loads(_base64url(did.removeprefix("did:jwk:")))
    bad = [
        did + "=",
        did + "#0",
        _jwk_did(**jwk),  # with spaces
        _jwk_did(**jwk, d="AA"),
        _jwk_did(**{**jwk, "x": jwk["y"]}),
        "did:jwk:",
        "did:jwk:e30",
        "did:jwk:\u00e4",
        "did:web:example.com",
        "did:x509",
        "",
        "did:jwk:" + "A" * 5000,
    ]
    for each in bad:
        with pytest.raises(IdentityError):
            resolve_did(each)


def test_did_jwk_comes_without_certificates(hospital: Identity) -> None:
    with pytest.raises(IdentityError, match="no certificates"):
        resolve_did(enclave().did, x5chain=hospital.chain)


def test_did_jwk_is_for_p256_only() -> None:
    with pytest.raises(IdentityError, match="P-256"):
        did_jwk_for(ec.generate_private_key(P384).public_key())
