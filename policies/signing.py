"""Sign a policy bundle, and verify who has, in the format that an OPA server checks on loading.

`.signatures.json` holds exactly one JWT, whose payload lists every other file of the archive with
the SHA-256 of its bytes. OPA hashes `.manifest` as a sorted structure; ours is written in that form
already. A contract agrees to a digest, so a signature adds who vouches for the bundle, not what is
in it.

1. One token of three parts; header and payload are strict JSON without unknown claims.
2. The algorithm is the key's own, whatever the header would like.
3. The key is the caller's, or it is certified under the caller's root and the signer's DID is that
   of its certificates.
4. The signature covers header and payload as they came.
5. The files are those of the archive, all of them, each with its hash; the scope is the caller's.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from ledger import cose
from ledger.chain import check_chain_validity
from ledger.did import resolve_did
from ledger.errors import LedgerError
from ledger.trust import root_fingerprint
from policies.attestation.runtime import decode_base64url
from policies.bundle import MAX_SIGNATURES_BYTES, Bundle
from policies.errors import DepaError, DocumentError, EvidenceError
from policies.wire.base import canonical_json, load_json, sha256

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_KEY_ID: Final = 500
_ALGORITHM: Final = "SHA-256"
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384"}
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_HEADER: Final = frozenset({"alg", "kid", "typ", "x5c"})
_CLAIMS: Final = frozenset({"files", "iat", "iss", "keyid", "scope"})


class SignatureRefused(DepaError):
    """A policy bundle is not signed, or not by whom, or over what, it should be."""

    code = "bundle-signature-refused"
    exit_code = 4
    http_status = 403

    def __init__(self, what: str, *, expected: object, got: object) -> None:
        self.what = what
        super().__init__(f"signature of the bundle: {what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class BundleSignature:
    """A signature that has been verified."""

    algorithm: str
    key_id: str
    """What the signer calls the key; for a party its DID."""
    scope: str
    files: int


@dataclass(frozen=True)
class _Token:
    """A token as it came; nothing in it is verified."""

    header: Mapping[str, Any]
    payload: Mapping[str, Any]
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def sign_bundle(
    bundle: Bundle,
    *,
    key: PrivateKey,
    key_id: str,
    scope: str = "",
    chain: Sequence[bytes] = (),
) -> bytes:
    """Return `.signatures.json` of a bundle; the same bytes for the same files and key.

    Args:
        bundle: What is signed.
        key: P-256, P-384 or RSA.
        key_id: Under what name a verifier finds the key; for a party its DID.
        scope: What an OPA server has to be configured with, if anything.
        chain: Certificates of the key in DER, leaf first, root last; may be empty.

    Raises:
        SignatureRefused: If the key is of another kind, or the name is empty or too long.
    """
    if not 0 < len(key_id) <= MAX_KEY_ID:
        raise SignatureRefused("key id", expected=f"1 to {MAX_KEY_ID} characters", got=len(key_id))
    header: dict[str, Any] = {"alg": _algorithm_of(key.public_key()), "kid": key_id}
    if chain:
        header["x5c"] = [base64.b64encode(der).decode("ascii") for der in chain]
    payload: dict[str, Any] = {"files": _files(bundle), "keyid": key_id}
    if scope:
        payload["scope"] = scope
    signed = b".".join(_encode(canonical_json(part)) for part in (header, payload))
    token = b".".join([signed, _encode(_sign(signed, key))]).decode("ascii")
    return json.dumps({"signatures": [token]}).encode("ascii") + b"\n"


def verify_bundle(
    bundle: Bundle, *, key: PublicKey, key_id: str = "", scope: str = ""
) -> BundleSignature:
    """Return the signature of a bundle if it is by `key`.

    Args:
        bundle: The bundle with its signature.
        key: The one key that is accepted.
        key_id: What the signature has to call it; empty for any name.
        scope: What the signature has to be for.

    Raises:
        SignatureRefused: If there is no signature, or not this one over all of these files.
    """
    return _verify(bundle, _token(bundle), key=key, key_id=key_id, scope=scope)


def verify_certified(bundle: Bundle, *, root: str, at: int, scope: str = "") -> BundleSignature:
    """Return the signature of a bundle if it is by somebody whom `root` certifies.

    Args:
        bundle: The bundle with its signature, which carries the signer's certificates.
        root: SHA-256 of the root certificate, 64 hexadecimal digits.
        at: When the certificates have to be valid, Unix seconds.
        scope: What the signature has to be for.

    Raises:
        SignatureRefused: If there is no signature, or not such a one over all of these files.
    """
    token = _token(bundle)
    chain = _chain(token.header)
    try:
        found = root_fingerprint(chain[-1])
        if found != root:
            raise SignatureRefused("root", expected=root, got=found)
        key = resolve_did(_key_id(token), x5chain=chain)
        check_chain_validity(chain, at=at)
    except LedgerError as error:
        raise SignatureRefused("certificates", expected="those of the signer", got=error) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise SignatureRefused("key", expected="P-256 or P-384", got=type(key).__name__)
    return _verify(bundle, token, key=key, key_id="", scope=scope)


def _verify(
    bundle: Bundle, token: _Token, *, key: PublicKey, key_id: str, scope: str
) -> BundleSignature:
    algorithm = _algorithm_of(key)
    # (2) Never the header's choice: "none" and HMAC over a public key are not even looked at.
    if token.header.get("alg") != algorithm:
        raise SignatureRefused("alg", expected=algorithm, got=token.header.get("alg"))
    _check_signature(token, key)
    found = _key_id(token)
    if key_id and found != key_id:
        raise SignatureRefused("kid", expected=key_id, got=found)
    if token.payload.get("scope", "") != scope:
        got = token.payload.get("scope", "")
        raise SignatureRefused("scope", expected=scope or "none", got=got or "none")
    _check_files(token.payload.get("files"), bundle)
    return BundleSignature(algorithm, found, scope, len(bundle.members))


def _token(bundle: Bundle) -> _Token:
    if bundle.signatures is None:
        raise SignatureRefused("presence", expected="one signature", got="none")
    value = _json(bundle.signatures, what=".signatures.json")
    tokens = value.get("signatures")
    if set(value) != {"signatures"} or not isinstance(tokens, list) or len(tokens) != 1:
        raise SignatureRefused("form", expected="exactly one token", got="something else")
    parts = str(tokens[0]).split(".")
    if len(parts) != len(("header", "payload", "signature")):
        raise SignatureRefused("token", expected="three parts", got=len(parts))
    header, payload, signature = (_decode(part) for part in parts)
    token = _Token(
        header=_json(header, what="header"),
        payload=_json(payload, what="payload"),
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )
    for got, known in ((token.header, _HEADER), (token.payload, _CLAIMS)):
        if unknown := sorted(set(got) - known):
            raise SignatureRefused("claims", expected=f"only {sorted(known)}", got=unknown[:5])
    return token


def _decode(part: str) -> bytes:
    try:
        return decode_base64url(part, claim="token")
    except EvidenceError as error:
        raise SignatureRefused("token", expected=error.expected, got=error.got) from None


def _json(data: bytes, *, what: str) -> dict[str, Any]:
    try:
        value = load_json(data, kind=what, limit=MAX_SIGNATURES_BYTES)
    except DocumentError as error:
        raise SignatureRefused(what, expected="strict JSON", got=error.problems[0]) from None
    if not isinstance(value, dict):
        raise SignatureRefused(what, expected="a JSON object", got=type(value).__name__)
    return value


def _key_id(token: _Token) -> str:
    """Return the key's name, which OPA looks for in the header before the payload."""
    names = [
        part[name]
        for part, name in ((token.header, "kid"), (token.payload, "keyid"))
        if name in part
    ]
    if not names or any(name != names[0] or not isinstance(name, str) for name in names):
        raise SignatureRefused("kid", expected="one name of the key", got=names)
    return str(names[0])


def _chain(header: Mapping[str, Any]) -> tuple[bytes, ...]:
    texts = header.get("x5c")
    if not isinstance(texts, list) or not texts:
        raise SignatureRefused("x5c", expected="the signer's certificates", got="none")
    try:
        return tuple(base64.b64decode(text, validate=True) for text in texts)
    except (binascii.Error, TypeError, ValueError):
        raise SignatureRefused("x5c", expected="base64", got="something else") from None


def _files(bundle: Bundle) -> list[dict[str, str]]:
    return [
        {"name": name, "hash": sha256(data).removeprefix("sha256:"), "algorithm": _ALGORITHM}
        for name, data in sorted(bundle.members.items())
    ]


def _check_files(listed: object, bundle: Bundle) -> None:
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise SignatureRefused("files", expected="a list of files", got=type(listed).__name__)
    wanted = {item["name"]: item for item in _files(bundle)}
    names = [item.get("name") for item in listed]
    for name in names:
        if name not in wanted or names.count(name) > 1:
            raise SignatureRefused(
                "files", expected="the files of the archive", got=str(name)[:200]
            )
    for name in sorted(set(wanted) - set(names)):
        raise SignatureRefused("files", expected=f"{name} among them", got="not that")
    for item in listed:
        if item != wanted[item["name"]]:
            raise SignatureRefused(
                str(item["name"]),
                expected=f"{_ALGORITHM} {wanted[item['name']]['hash']}",
                got=f"{item.get('algorithm')} {item.get('hash')}"[:200],
            )


def _algorithm_of(key: PublicKey) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            expected = f"RSA of {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits"
            raise SignatureRefused("key", expected=expected, got=key.key_size)
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    raise SignatureRefused("key", expected="P-256, P-384 or RSA", got=type(key).__name__)


def _sign(data: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), SHA256())
    # JWS and COSE write ECDSA alike: r and s, each of the curve's width.
    return cose.sign(data, key=key)


def _check_signature(token: _Token, key: PublicKey) -> None:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(token.signature, token.signed, padding.PKCS1v15(), SHA256())
            return
        algorithm = cose.algorithm_of(key)
        cose.verify_signature(
            token.signed, signature=token.signature, algorithm=algorithm, key=key, what="bundle"
        )
    except (InvalidSignature, LedgerError):
        raise SignatureRefused("signature", expected="one by this key", got="another") from None


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
