"""COSE_Sign1 (RFC 9052), the algorithms the log knows (RFC 9053) and key thumbprints (RFC 9679).

Signatures are over the protected bytes as received: nothing is encoded again to be verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from ledger import cbor
from ledger.errors import FormatError, VerificationError

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey

ALG, CRIT, KEY_ID, CWT_CLAIMS, X5CHAIN = 1, 2, 4, 15, 33
"""Header labels (RFC 9052 section 3.1, RFC 9597, RFC 9360)."""
ISS, SUB, IAT = 1, 2, 6
"""CWT claims (RFC 8392)."""

_SIGN1_TAG = 18
_NO_KEY = "an elliptic curve key P-256 or P-384, or Ed25519"


class Algorithm(IntEnum):
    """Signature algorithms; each goes with one curve only."""

    ES256 = -7
    ES384 = -35
    EDDSA = -8


_CURVES: Mapping[str, tuple[Algorithm, int, hashes.HashAlgorithm, int]] = {
    "secp256r1": (Algorithm.ES256, 32, hashes.SHA256(), 1),
    "secp384r1": (Algorithm.ES384, 48, hashes.SHA384(), 2),
}
"""Algorithm, bytes of a coordinate, hash, COSE curve number (RFC 9053 section 7.1)."""


@dataclass(frozen=True)
class Sign1:
    """A COSE_Sign1 as it came; nothing in it is verified."""

    protected: bytes
    unprotected: Mapping[int | str, object]
    payload: bytes | None
    signature: bytes


def algorithm_of(key: PublicKey | PrivateKey) -> Algorithm:
    """Return the one algorithm that goes with `key`.

    Raises:
        VerificationError: If the key is of another type or curve.
    """
    if isinstance(key, Ed25519PublicKey | Ed25519PrivateKey):
        return Algorithm.EDDSA
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        if key.curve.name in _CURVES:
            return _CURVES[key.curve.name][0]
        raise VerificationError("key", expected=_NO_KEY, got=key.curve.name)
    raise VerificationError("key", expected=_NO_KEY, got=type(key).__name__)


def sign(data: bytes, *, key: PrivateKey) -> bytes:
    """Return the signature of `data`: r || s of fixed length for ECDSA (RFC 9053 section 2.1).

    Signatures are deterministic (RFC 6979), so that what is signed again after a crash is the same
    statement, and the same entry of a log.
    """
    algorithm_of(key)
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    _, width, digest, _ = _CURVES[key.curve.name]
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest, deterministic_signing=True)))
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def verify_signature(
    data: bytes, *, signature: bytes, algorithm: int, key: PublicKey, what: str
) -> None:
    """Raise unless `signature` over `data` is by `key` with the algorithm that goes with the key.

    Raises:
        VerificationError: If the algorithm is another, or the signature does not verify.
    """
    wanted = algorithm_of(key)
    if algorithm != wanted:
        raise VerificationError(
            f"{what}: algorithm", expected=f"{wanted.name} ({wanted.value})", got=algorithm
        )
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
            return
        _, width, digest, _ = _CURVES[key.curve.name]
        if len(signature) != 2 * width:
            raise VerificationError(
                f"{what}: signature", expected=f"{2 * width} bytes", got=len(signature)
            )
        r, s = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
    except InvalidSignature as error:
        raise VerificationError(
            f"{what}: signature", expected=f"one by key {thumbprint(key).hex()[:16]}", got="another"
        ) from error


def thumbprint(key: PublicKey) -> bytes:
    """Return the 32 byte COSE key thumbprint (RFC 9679, SHA-256)."""
    algorithm_of(key)
    if isinstance(key, Ed25519PublicKey):
        parameters: dict[int, object] = {1: 1, -1: 6, -2: key.public_bytes_raw()}
    else:
        _, width, _, curve = _CURVES[key.curve.name]
        point = key.public_numbers()
        parameters = {
            1: 2,
            -1: curve,
            -2: point.x.to_bytes(width, "big"),
            -3: point.y.to_bytes(width, "big"),
        }
    return hashlib.sha256(cbor.encode(parameters)).digest()


def to_be_signed(*, protected: bytes, payload: bytes) -> bytes:
    """Return the bytes that a COSE_Sign1 signature covers (RFC 9052 section 4.4)."""
    return cbor.encode(["Signature1", protected, b"", payload])


def encode_sign1(message: Sign1) -> bytes:
    """Return the tagged encoding of `message`."""
    body = [message.protected, message.unprotected, message.payload, message.signature]
    return cbor.encode(cbor.Tagged(_SIGN1_TAG, body))


def parse_sign1(data: bytes, *, what: str, limit: int) -> Sign1:
    """Return the tagged COSE_Sign1 that `data` is, all of it.

    Raises:
        FormatError: If it is anything else, or not encoded deterministically.
    """
    value = cbor.decode(data, what=what, limit=limit)
    if not isinstance(value, cbor.Tagged) or value.tag != _SIGN1_TAG:
        raise FormatError(f"{what}: not a COSE_Sign1 with tag {_SIGN1_TAG}")
    match value.value:
        case [bytes(protected), dict(unprotected), (bytes() | None) as payload, bytes(signature)]:
            return Sign1(protected, unprotected, payload, signature)
        case _:
            raise FormatError(f"{what}: not [protected, unprotected, payload, signature]")


def parse_header(data: bytes, *, what: str, deterministic: bool) -> Mapping[object, object]:
    """Return the protected header that `data` is.

    Raises:
        FormatError: If it is no map, or names a critical header (label 2): none is understood.
    """
    header = cbor.decode(
        data, what=f"{what}: protected header", limit=len(data), deterministic=deterministic
    )
    if not isinstance(header, dict):
        raise FormatError(f"{what}: the protected header is not a map")
    if CRIT in header:
        raise FormatError(f"{what}: critical headers are not understood")
    return header
