"""A bundle's signature is one over all of its files, by the key that was asked for."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.did import did_x509_for
from ledger.trust import issue_root
from policies.bundle import Bundle, build, load_bundle, parse
from policies.errors import DocumentError
from policies.signing import (
    PrivateKey,
    SignatureRefused,
    sign_bundle,
    verify_bundle,
    verify_certified,
)
from tests.unit.ledger.makers import NOW, party

EC: Final = ec.derive_private_key(7, ec.SECP256R1())
P384: Final = ec.derive_private_key(7, ec.SECP384R1())
RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
BUNDLE: Final = load_bundle()


def signed(**options: Any) -> Bundle:
    given: dict[str, Any] = {"key": EC, "key_id": "lab", **options}
    return replace(BUNDLE, signatures=sign_bundle(BUNDLE, **given))


def token_of(bundle: Bundle) -> str:
    assert bundle.signatures is not None
    return str(json.loads(bundle.signatures)["signatures"][0])


def with_token(token: str) -> Bundle:
    return replace(BUNDLE, signatures=json.dumps({"signatures": [token]}).encode())


def payload(change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    """Return what a right signature covers, changed."""
    value: dict[str, Any] = jwt.decode(token_of(signed()), options={"verify_signature": False})
    change(value)
    return value


def resigned(change: Callable[[dict[str, Any]], object], **header: Any) -> Bundle:
    return with_token(
        jwt.encode(payload(change), EC, algorithm="ES256", headers={"kid": "lab", **header})
    )


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(EC, "ES256"), (P384, "ES384"), (RSA, "RS256")],
    ids=["P-256", "P-384", "RSA"],
)
def test_a_signed_bundle_is_verified_by_its_key(key: PrivateKey, algorithm: str) -> None:
    bundle = parse(signed(key=key).pack())
    found = verify_bundle(bundle, key=key.public_key(), key_id="lab")
    assert (found.algorithm, found.key_id, found.scope) == (algorithm, "lab", "")
    assert found.files == len(BUNDLE.files) + 1


@pytest.mark.parametrize("key", [EC, P384, RSA], ids=["ES256", "ES384", "RS256"])
def test_the_same_bundle_and_key_make_the_same_archive(key: PrivateKey) -> None:
    assert signed(key=key).pack() == signed(key=key).pack()


def test_a_signature_is_no_part_of_the_digest() -> None:
    assert parse(signed().pack()).digest == BUNDLE.digest
    assert parse(BUNDLE.pack()).signatures is None


def test_another_library_verifies_the_token_and_finds_every_file() -> None:
    token = token_of(signed(scope="depa"))
    claims = jwt.decode(token, EC.public_key(), algorithms=["ES256"])
    assert jwt.get_unverified_header(token)["kid"] == claims["keyid"] == "lab"
    assert claims["scope"] == "depa"
    assert {item["name"]: item["hash"] for item in claims["files"]} == {
        ".manifest": hashlib.sha256(as_opa_hashes(BUNDLE.members[".manifest"])).hexdigest(),
        **{name: hashlib.sha256(data).hexdigest() for name, data in BUNDLE.files.items()},
    }
    assert {item["algorithm"] for item in claims["files"]} == {"SHA-256"}


def as_opa_hashes(data: bytes) -> bytes:
    """Return what OPA hashes of a structured file: sorted keys, no blanks."""
    value = json.loads(data)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_token_made_by_another_library_verifies() -> None:
    bundle = with_token(jwt.encode(payload(), RSA, algorithm="RS256", headers={"kid": "lab"}))
    assert verify_bundle(bundle, key=RSA.public_key()).key_id == "lab"


def test_a_bundle_without_signature_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="expected one signature, got none"):
        verify_bundle(BUNDLE, key=EC.public_key())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda p: p["files"].pop(), "files"),
        (lambda p: p["files"].append(p["files"][0]), "files"),
        (lambda p: p["files"].append({"name": "x.rego", "hash": "", "algorithm": ""}), "files"),
        (lambda p: p.update(files=[]), "files"),
        (lambda p: p.update(files="all"), "files"),
        (lambda p: p.update(files=["all"]), "files"),
        (lambda p: p.pop("files"), "files"),
        (lambda p: p["files"][0].update(hash="00" * 32), ".manifest"),
        (lambda p: p["files"][0].update(algorithm="MD5"), ".manifest"),
        (lambda p: p["files"][0].pop("algorithm"), ".manifest"),
        (lambda p: p["files"][0].update(more=1), ".manifest"),
        (lambda p: p.update(scope="other"), "scope"),
        (lambda p: p.update(keyid="other"), "kid"),
        (lambda p: p.update(keyid=7), "kid"),
        (lambda p: p.update(sub="x"), "claims"),
    ],
)
def test_another_payload_is_refused(change: Callable[[dict[str, Any]], object], what: str) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_bundle(resigned(change), key=EC.public_key(), key_id="lab")
    assert caught.value.what == what


def test_an_unchanged_payload_is_accepted_by_the_same_way() -> None:
    assert verify_bundle(resigned(lambda _: None), key=EC.public_key(), key_id="lab")


def test_a_changed_file_is_refused() -> None:
    files = {**BUNDLE.files, "depa/pipeline/budget.rego": b"package depa.pipeline\n"}
    changed = replace(build(files), signatures=signed().signatures)
    with pytest.raises(SignatureRefused, match="SHA-256"):
        verify_bundle(parse(changed.pack()), key=EC.public_key())


def test_a_file_more_or_less_is_refused() -> None:
    more = build({**BUNDLE.files, "depa/training/more.rego": b"package depa.training\n"})
    less = build({p: d for p, d in BUNDLE.files.items() if p != "depa/pipeline/budget.rego"})
    for bundle in (more, less):
        with pytest.raises(SignatureRefused) as caught:
            verify_bundle(replace(bundle, signatures=signed().signatures), key=EC.public_key())
        assert caught.value.what in {"files", ".manifest"}


def _bare(header: dict[str, Any], signature: bytes) -> Bundle:
    parts = [json.dumps(header).encode(), json.dumps(payload()).encode(), signature]
    return with_token(b".".join(base64.urlsafe_b64encode(p).rstrip(b"=") for p in parts).decode())


def test_no_other_algorithm_is_accepted() -> None:
    pem = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = jwt.encode(payload(), "k" * 32, algorithm="HS256", headers={"kid": "lab"})
    for bundle in (_bare({"alg": "none", "kid": "lab"}, b""), with_token(mac)):
        with pytest.raises(SignatureRefused) as caught:
            verify_bundle(bundle, key=EC.public_key())
        assert caught.value.what == "alg"
    assert pem.decode() not in str(caught.value)


def test_a_signature_by_another_key_is_refused() -> None:
    other = ec.derive_private_key(8, ec.SECP256R1()).public_key()
    with pytest.raises(SignatureRefused, match="expected one by this key"):
        verify_bundle(signed(), key=other)
    other_rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    with pytest.raises(SignatureRefused, match="expected one by this key"):
        verify_bundle(signed(key=RSA), key=other_rsa)


def test_a_signature_that_is_cut_off_is_refused() -> None:
    head, _, signature = token_of(signed()).rpartition(".")
    for rest in ("", signature[:-6], signature + "AA", "A" * len(signature)):
        with pytest.raises(SignatureRefused) as caught:
            verify_bundle(with_token(f"{head}.{rest}"), key=EC.public_key())
        assert caught.value.what == "signature"


def test_another_key_id_or_scope_than_asked_for_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="kid: expected clinic, got lab"):
        verify_bundle(signed(), key=EC.public_key(), key_id="clinic")
    with pytest.raises(SignatureRefused, match="scope: expected write, got none"):
        verify_bundle(signed(), key=EC.public_key(), scope="write")
    assert verify_bundle(signed(scope="write"), key=EC.public_key(), scope="write")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"signatures": []}',
        b'{"signatures": ["a.b.c", "a.b.c"]}',
        b'{"signatures": ["a.b.c"], "plugin": "mine"}',
        b'{"signatures": ["a.b"]}',
        b'{"signatures": ["a.b.c"]}',
        b'{"signatures": ["e30.e30."]}',
        b'{"signatures": ["e30.W10."]}',
        b'{"signatures": [7]}',
        b'{"signatures": ["!.!.!"]}',
        b'{"signatures": [], "signatures": ["a.b.c"]}',
    ],
)
def test_a_malformed_signature_is_refused(data: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify_bundle(replace(BUNDLE, signatures=data), key=EC.public_key())


def test_an_unknown_header_is_refused() -> None:
    bundle = resigned(lambda _: None, crit=["exp"])
    with pytest.raises(SignatureRefused) as caught:
        verify_bundle(bundle, key=EC.public_key())
    assert caught.value.what == "claims"


@pytest.mark.parametrize(
    "key",
    [
        ec.derive_private_key(7, ec.SECP521R1()),
        ec.derive_private_key(7, ec.SECP256K1()),
        rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505
    ],
    ids=["P-521", "secp256k1", "RSA-1024"],
)
def test_a_key_of_another_kind_signs_nothing(key: PrivateKey) -> None:
    with pytest.raises(SignatureRefused) as caught:
        sign_bundle(BUNDLE, key=key, key_id="lab")
    assert caught.value.what == "key"


@pytest.mark.parametrize("name", ["", "x" * 501])
def test_a_key_needs_a_name(name: str) -> None:
    with pytest.raises(SignatureRefused):
        sign_bundle(BUNDLE, key=EC, key_id=name)


def test_an_archive_with_too_long_a_signature_is_refused() -> None:
    with pytest.raises(DocumentError, match="131072 bytes of signatures"):
        parse(replace(BUNDLE, signatures=b" " * 131073).pack())


@pytest.fixture(scope="module")
def chain() -> tuple[bytes, ...]:
    return party(key=EC).chain


def by_party(chain: tuple[bytes, ...], **options: Any) -> Bundle:
    return signed(**{"key_id": did_x509_for(chain), "chain": chain, **options})


def root_of(chain: tuple[bytes, ...]) -> str:
    return hashlib.sha256(chain[-1]).hexdigest()


def test_a_party_s_signature_is_verified_up_to_its_root(chain: tuple[bytes, ...]) -> None:
    found = verify_certified(parse(by_party(chain).pack()), root=root_of(chain), at=NOW)
    assert found.key_id == did_x509_for(chain)


def test_a_signature_under_another_root_is_refused(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(SignatureRefused) as caught:
        verify_certified(by_party(chain), root="00" * 32, at=NOW)
    assert caught.value.what == "root"


def test_a_certificate_that_is_not_valid_then_is_refused(chain: tuple[bytes, ...]) -> None:
    with pytest.raises(SignatureRefused, match="validity"):
        verify_certified(by_party(chain), root=root_of(chain), at=0)


def test_the_certificates_have_to_be_those_of_the_signer(chain: tuple[bytes, ...]) -> None:
    other = ec.derive_private_key(9, ec.SECP256R1())
    with pytest.raises(SignatureRefused, match="expected one by this key"):
        verify_certified(by_party(chain, key=other), root=root_of(chain), at=NOW)
    with pytest.raises(SignatureRefused) as caught:
        verify_certified(
            by_party(chain, key_id="did:x509:0:sha256:AA"), root=root_of(chain), at=NOW
        )
    assert caught.value.what == "certificates"


def test_a_root_put_behind_another_chain_is_refused(chain: tuple[bytes, ...]) -> None:
    stranger = party("Stranger").chain
    mixed = (stranger[0], chain[-1])
    bundle = signed(key_id=did_x509_for(chain), chain=mixed)
    with pytest.raises(SignatureRefused) as caught:
        verify_certified(bundle, root=root_of(chain), at=NOW)
    assert caught.value.what == "certificates"


@pytest.mark.parametrize("x5c", [None, [], "x", ["!"], [7]])
def test_a_signature_without_certificates_leads_to_no_root(x5c: object) -> None:
    bundle = resigned(lambda _: None, **({} if x5c is None else {"x5c": x5c}))
    with pytest.raises(SignatureRefused) as caught:
        verify_certified(bundle, root="00" * 32, at=NOW)
    assert caught.value.what == "x5c"


def test_a_root_itself_is_no_signer() -> None:
    root = issue_root(EC, organization="Root", not_before=NOW - 60, not_after=NOW + 3600)
    bundle = signed(key_id="did:x509:0:sha256:AA", chain=(root,))
    with pytest.raises(SignatureRefused):
        verify_certified(bundle, root=hashlib.sha256(root).hexdigest(), at=NOW)
