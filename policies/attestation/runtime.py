"""The runtime data that a clean room's report vouches for: its keys, and what they may be used for.

The SHA-256 of these bytes is the first half of REPORT_DATA. They are canonical JSON, so that
whoever only gets the
parsed claim of a token can hash them again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from policies.errors import EvidenceError
from policies.wire.base import canonical_json

RELEASE_KEY: Final = "release"
"""Key id of the RSA key that secrets are wrapped to."""
REPORT_KEY: Final = "report"
"""Key id of the P-256 key that signs the run report."""
MAX_RUNTIME_BYTES: Final = 16 * 1024
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_RUN: Final = re.compile(r"run-[a-z2-7]{26}")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Runtime:
    """What a clean room says about itself, and its report vouches for."""

    release_key: rsa.RSAPublicKey = field(repr=False)
    report_key: Mapping[str, str]
    """P-256 public key as JWK with `kty`, `crv`, `x`, `y`."""
    contract: str
    """Digest string of the contract."""
    run: str
    pipeline: str
    """Digest string of the pipeline."""
    nonce: str
    """32 bytes, base64url: the challenge that the report answers."""


def build_runtime(
    *,
    release_key: rsa.RSAPublicKey,
    report_key: ec.EllipticCurvePublicKey,
    contract: str,
    run: str,
    pipeline: str,
    nonce: str,
) -> bytes:
    """Return the runtime data of one run, as it is hashed and sent."""
    rsa_numbers, ec_numbers = release_key.public_numbers(), report_key.public_numbers()
    return canonical_json(
        {
            "keys": [
                {
                    "kty": "RSA",
                    "kid": RELEASE_KEY,
                    "key_ops": ["encrypt"],
                    "n": encode_integer(rsa_numbers.n),
                    "e": encode_integer(rsa_numbers.e),
                },
                {
                    "kty": "EC",
                    "crv": "P-256",
                    "kid": REPORT_KEY,
                    "key_ops": ["verify"],
                    "x": encode_integer(ec_numbers.x, size=32),
                    "y": encode_integer(ec_numbers.y, size=32),
                },
            ],
            "depa": {"contract": contract, "run": run, "pipeline": pipeline, "nonce": nonce},
        }
    )


def report_data_of(runtime_data: bytes) -> bytes:
    """Return the 64 bytes of REPORT_DATA that commit to `runtime_data`."""
    return hashlib.sha256(runtime_data).digest() + bytes(32)


def attested_runtime(runtime: Mapping[str, Any], *, report_data: bytes) -> Runtime:
    """Return the runtime data that a report commits to.

    Args:
        runtime: The parsed runtime data, as a token carries it.
        report_data: The 64 bytes of the verified report.

    Raises:
        EvidenceError: if the report is over other data, or a field is missing or malformed.
    """
    expected = report_data_of(canonical_json(dict(runtime)))
    if report_data != expected:
        raise EvidenceError("report_data", expected=expected.hex(), got=report_data.hex())
    scope = runtime.get("depa")
    if not isinstance(scope, Mapping) or set(scope) != {"contract", "run", "pipeline", "nonce"}:
        raise EvidenceError(
            "runtime.depa", expected="contract, run, pipeline, nonce", got="other fields"
        )
    for name, pattern in (("contract", _DIGEST), ("pipeline", _DIGEST), ("run", _RUN)):
        if not isinstance(scope[name], str) or not pattern.fullmatch(scope[name]):
            raise EvidenceError(
                f"runtime.depa.{name}", expected=pattern.pattern, got="another form"
            )
    if len(decode_base64url(scope["nonce"], claim="runtime.depa.nonce")) != 32:
        raise EvidenceError("runtime.depa.nonce", expected="32 bytes", got="another length")
    return Runtime(
        release_key=release_key_of(runtime),
        report_key=report_key_of(runtime),
        contract=scope["contract"],
        run=scope["run"],
        pipeline=scope["pipeline"],
        nonce=scope["nonce"],
    )


def release_key_of(runtime: Mapping[str, Any]) -> rsa.RSAPublicKey:
    """Return the RSA key that secrets are wrapped to.

    Raises:
        EvidenceError: if there is not exactly one, it is not for encryption, or it is weak.
    """
    jwk = _key(runtime, RELEASE_KEY)
    if jwk.get("kty") != "RSA" or jwk.get("key_ops") != ["encrypt"]:
        raise EvidenceError("runtime.keys.release", expected="RSA for encrypt", got="another kind")
    return rsa_key(jwk, claim="runtime.keys.release")


def rsa_key(jwk: Mapping[str, Any], *, claim: str) -> rsa.RSAPublicKey:
    """Return the RSA public key of a JWK.

    Raises:
        EvidenceError: if it is malformed, even, or not between 2048 and 8192 bits.
    """
    n = int.from_bytes(decode_base64url(jwk.get("n"), claim=f"{claim}.n"), "big")
    e = int.from_bytes(decode_base64url(jwk.get("e"), claim=f"{claim}.e"), "big")
    if not _MIN_RSA_BITS <= n.bit_length() <= _MAX_RSA_BITS or not n & 1 or e != 65537:
        raise EvidenceError(
            claim,
            expected=f"odd, {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits, e = 65537",
            got=f"{n.bit_length()} bits, e of {e.bit_length()} bits",
        )
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise EvidenceError(claim, expected="an RSA public key", got="no such key") from None


def report_key_of(runtime: Mapping[str, Any]) -> dict[str, str]:
    """Return the P-256 key that signs the run report, as JWK with `kty`, `crv`, `x`, `y`.

    Raises:
        EvidenceError: if there is not exactly one, or it is no point of the curve.
    """
    jwk = _key(runtime, REPORT_KEY)
    if (jwk.get("kty"), jwk.get("crv"), jwk.get("key_ops")) != ("EC", "P-256", ["verify"]):
        raise EvidenceError("runtime.keys.report", expected="P-256 for verify", got="another kind")
    x, y = (
        decode_base64url(jwk.get(name), claim=f"runtime.keys.report.{name}") for name in ("x", "y")
    )
    if (len(x), len(y)) != (32, 32):
        raise EvidenceError(
            "runtime.keys.report", expected="32-byte coordinates", got=(len(x), len(y))
        )
    try:
        ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        ).public_key()
    except ValueError:
        raise EvidenceError(
            "runtime.keys.report", expected="a point of P-256", got="none"
        ) from None
    return {"kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"]}


def encode_integer(value: int, *, size: int | None = None) -> str:
    """Return a big-endian integer in base64url without padding."""
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return encode_base64url(data)


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: object, *, claim: str) -> bytes:
    """Return the bytes of base64url, with or without padding.

    Raises:
        EvidenceError: if it is anything else, or not the one encoding of its bytes.
    """
    if not isinstance(text, str):
        raise EvidenceError(claim, expected="base64url", got=type(text).__name__)
    bare = text.rstrip("=")
    if not _BASE64URL.fullmatch(bare) or len(text) - len(bare) > 2:
        raise EvidenceError(claim, expected="base64url", got="other characters")
    try:
        data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        raise EvidenceError(claim, expected="base64url", got="a truncated text") from None
    if encode_base64url(data) != bare:
        raise EvidenceError(claim, expected="the canonical encoding", got="stray bits")
    return data


def _key(runtime: Mapping[str, Any], kid: str) -> Mapping[str, Any]:
    keys = runtime.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, Mapping) for key in keys):
        raise EvidenceError("runtime.keys", expected="a list of keys", got=type(keys).__name__)
    found = [key for key in keys if key.get("kid") == kid]
    if len(found) != 1:
        raise EvidenceError(f"runtime.keys.{kid}", expected="one key", got=len(found))
    jwk: Mapping[str, Any] = found[0]
    return jwk
