"""Verify a token of Microsoft Azure Attestation, or of a service that speaks its protocol.

1. Three parts; header and payload are strict JSON.
2. The algorithm is RS256, whatever the header would like.
3. The issuer is one of the configured authorities, compared as a whole.
4. `jku` is the issuer's own `/certs`, if present; keys are never fetched here.
5. The key is the issuer's by `kid`, and its signature covers header and payload as they came.
6. Not before, expiry, issue time and age hold at `now`.
7. The claims have the version, kind of evidence and types that the rest of the project reads.

What the claims must say is the caller's policy, binding the runtime data is
`runtime.attested_runtime`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from policies.attestation.certificate import load_certificate
from policies.attestation.runtime import decode_base64url
from policies.errors import DocumentError, EvidenceError
from policies.wire.base import load_json

MAX_TOKEN_BYTES: Final = 64 * 1024
MAX_JWKS_BYTES: Final = 256 * 1024
MAX_AGE: Final = timedelta(hours=1)
SKEW: Final = timedelta(seconds=30)
_PREFIX: Final = "x-ms-sevsnpvm-"


@dataclass(frozen=True)
class EvidenceClaims:
    """What an attestation authority vouches for. The token itself is not kept."""

    issuer: str
    token_digest: str
    """`sha256:` of the token's text."""
    token_id: str
    issued_at: datetime
    expires_at: datetime
    compliance: str | None
    """`azure-compliant-uvm` if the guest's firmware is endorsed; None if nobody vouches for it."""
    debuggable: bool
    migratable: bool
    vmpl: int
    host_data: str
    """64 hexadecimal digits: SHA-256 of the launch policy."""
    report_data: str
    """128 hexadecimal digits."""
    measurement: str
    """96 hexadecimal digits: the launch digest."""
    guest_svn: int
    tcb: Mapping[str, int]
    """`bootloader`, `tee`, `snpfw`, `microcode`."""
    runtime: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    """The whole payload, for release policies."""


def signing_keys(jwks: bytes) -> Mapping[str, rsa.RSAPublicKey]:
    """Return an authority's keys by `kid`, read from their certificates.

    Raises:
        EvidenceError: if a key has no certificate, is not RSA of 2048 bits or more, or a `kid`
        stands twice.
    """
    document = _json(jwks, claim="jwks", limit=MAX_JWKS_BYTES)
    entries = document.get("keys")
    if not isinstance(entries, list) or not entries:
        raise EvidenceError("jwks.keys", expected="a list of keys", got=type(entries).__name__)
    keys: dict[str, rsa.RSAPublicKey] = {}
    for entry in entries:
        kid, chain = (
            (entry.get("kid"), entry.get("x5c")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(kid, str) or not kid or kid in keys:
            raise EvidenceError(
                "jwks.kid", expected="a name of its own", got="none or a second one"
            )
        # The authority's JWKS carries certificates only; `n` and `e` are absent or ignored.
        if not isinstance(chain, list) or not chain or not isinstance(chain[0], str):
            raise EvidenceError("jwks.x5c", expected="a certificate", got="none")
        keys[kid] = _certified_key(chain[0])
    return MappingProxyType(keys)


def issuer_of(token: str) -> str:
    """Return the unverified issuer of a token: which authority's keys it takes to verify it."""
    return unverified_source(token)[0]


def unverified_source(token: str) -> tuple[str, str]:
    """Return issuer and key id that a token claims: which keys it takes to verify it.

    Raises:
        EvidenceError: if it has none.
    """
    header, payload, _, _ = _split(token)
    return _text(payload, "iss"), _text(header, "kid")


def verify_token(
    token: str,
    *,
    authorities: Mapping[str, Mapping[str, rsa.RSAPublicKey]],
    now: datetime,
    max_age: timedelta = MAX_AGE,
    skew: timedelta = SKEW,
) -> EvidenceClaims:
    """Return what a trusted authority vouches for.

    Args:
        token: Compact JWS.
        authorities: Issuer URL to its keys by `kid`, see `signing_keys`.
        now: The verifier's clock.
        max_age: Tokens issued longer ago are refused even if their issuer thinks otherwise.
        skew: Tolerated difference between the two clocks.

    Raises:
        EvidenceError: naming the claim; the token is never part of the message.
    """
    header, payload, signed, signature = _split(token)
    # (2) From an allow-list of one: `none` and HMAC over a public key are how tokens get forged.
    if header.get("alg") != "RS256":
        raise EvidenceError("token.alg", expected="RS256", got=header.get("alg"))
    if header.get("typ", "JWT") != "JWT":
        raise EvidenceError("token.typ", expected="JWT", got=header.get("typ"))
    if "crit" in header:
        raise EvidenceError("token.crit", expected="no critical extension", got=header["crit"])
    # (3)
    issuer = _text(payload, "iss")
    if issuer not in authorities:
        raise EvidenceError("token.iss", expected=f"one of {sorted(authorities)}", got=issuer)
    # (4)
    if "jku" in header and header["jku"] != f"{issuer}/certs":
        raise EvidenceError("token.jku", expected=f"{issuer}/certs", got=header["jku"])
    # (5)
    kid = header.get("kid")
    key = authorities[issuer].get(kid) if isinstance(kid, str) else None
    if key is None:
        raise EvidenceError("token.kid", expected=f"a key of {issuer}", got=kid)
    try:
        key.verify(signature, signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise EvidenceError(
            "token.signature", expected=f"signed by {issuer}", got="an invalid signature"
        ) from None
    # (6)
    issued_at, expires_at = _check_times(payload, now=now, max_age=max_age, skew=skew)
    # (7)
    return _evidence(payload, issued_at=issued_at, expires_at=expires_at, token=token)


def _split(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if len(token) > MAX_TOKEN_BYTES:
        raise EvidenceError("token", expected=f"at most {MAX_TOKEN_BYTES} bytes", got=len(token))
    parts = token.split(".")
    if len(parts) != 3:
        raise EvidenceError("token", expected="three parts", got=len(parts))
    header, payload, signature = (decode_base64url(part, claim="token") for part in parts)
    return (
        _json(header, claim="token.header", limit=MAX_TOKEN_BYTES),
        _json(payload, claim="token.payload", limit=MAX_TOKEN_BYTES),
        f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature,
    )


def _json(data: bytes, *, claim: str, limit: int) -> dict[str, Any]:
    try:
        value = load_json(data, kind=claim, limit=limit)
    except DocumentError as error:
        raise EvidenceError(claim, expected="strict JSON", got=error.problems[0].message) from None
    if not isinstance(value, dict):
        raise EvidenceError(claim, expected="a JSON object", got=type(value).__name__)
    return cast("dict[str, Any]", value)


def _certified_key(text: str) -> rsa.RSAPublicKey:
    # x5c is standard base64 (RFC 7517, 4.7), unlike everything else in a token.
    encoded = decode_base64url(text.translate(str.maketrans("+/", "-_")), claim="jwks.x5c")
    try:
        key = load_certificate(encoded).public_key()
    except EvidenceError as error:
        raise EvidenceError("jwks.x5c", expected="a certificate", got=str(error)) from None
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise EvidenceError("jwks.x5c", expected="RSA of 2048 bits or more", got="another key")
    return key


def _check_times(
    payload: Mapping[str, Any], *, now: datetime, max_age: timedelta, skew: timedelta
) -> tuple[datetime, datetime]:
    issued, starts, expires = (_time(payload, name) for name in ("iat", "nbf", "exp"))
    if starts > now + skew or issued > now + skew:
        raise EvidenceError(
            "token.nbf", expected=f"at most {now.isoformat()}", got=max(starts, issued).isoformat()
        )
    if expires <= now - skew or expires <= issued:
        raise EvidenceError(
            "token.exp", expected=f"after {now.isoformat()}", got=expires.isoformat()
        )
    if issued < now - max_age - skew:
        raise EvidenceError(
            "token.iat", expected=f"issued within {max_age}", got=issued.isoformat()
        )
    return issued, expires


def _evidence(
    payload: dict[str, Any], *, issued_at: datetime, expires_at: datetime, token: str
) -> EvidenceClaims:
    for name, expected in (("x-ms-ver", "1.0"), ("x-ms-attestation-type", "sevsnpvm")):
        if payload.get(name) != expected:
            raise EvidenceError(name, expected=expected, got=payload.get(name))
    compliance, runtime = payload.get("x-ms-compliance-status"), payload.get("x-ms-runtime")
    if not isinstance(compliance, str | None):
        raise EvidenceError(
            "x-ms-compliance-status", expected="a text", got=type(compliance).__name__
        )
    if not isinstance(runtime, dict):
        raise EvidenceError("x-ms-runtime", expected="an object", got=type(runtime).__name__)
    return EvidenceClaims(
        issuer=_text(payload, "iss"),
        token_digest="sha256:" + hashlib.sha256(token.encode("ascii")).hexdigest(),
        token_id=_text(payload, "jti"),
        issued_at=issued_at,
        expires_at=expires_at,
        compliance=compliance,
        debuggable=_flag(payload, "is-debuggable"),
        migratable=_flag(payload, "migration-allowed"),
        vmpl=_level(payload, "vmpl"),
        host_data=_hex(payload, "hostdata", size=32),
        report_data=_hex(payload, "reportdata", size=64),
        measurement=_hex(payload, "launchmeasurement", size=48),
        guest_svn=_level(payload, "guestsvn"),
        tcb=MappingProxyType(
            {
                name: _level(payload, f"{name}-svn")
                for name in ("bootloader", "tee", "snpfw", "microcode")
            }
        ),
        runtime=MappingProxyType(runtime),
        claims=MappingProxyType(payload),
    )


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value or len(value) > 2048:
        raise EvidenceError(f"token.{name}", expected="a text", got=type(value).__name__)
    return value


def _time(payload: Mapping[str, Any], name: str) -> datetime:
    value = payload.get(name)
    # A bool is an int in Python, and a float may be infinite.
    if type(value) is not int or not 0 < value < 1 << 33:
        raise EvidenceError(
            f"token.{name}", expected="seconds since 1970", got=type(value).__name__
        )
    return datetime.fromtimestamp(value, UTC)


def _flag(payload: Mapping[str, Any], name: str) -> bool:
    value = payload.get(_PREFIX + name)
    if not isinstance(value, bool):
        raise EvidenceError(_PREFIX + name, expected="true or false", got=type(value).__name__)
    return value


def _level(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(_PREFIX + name)
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise EvidenceError(_PREFIX + name, expected="a level", got=type(value).__name__)
    return value


def _hex(payload: Mapping[str, Any], name: str, *, size: int) -> str:
    value = payload.get(_PREFIX + name)
    if not isinstance(value, str) or len(value) != 2 * size or set(value) - set("0123456789abcdef"):
        raise EvidenceError(
            _PREFIX + name, expected=f"{2 * size} hexadecimal digits", got="another form"
        )
    return value
