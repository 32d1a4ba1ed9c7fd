"""Verify what a vault releases: a JWS that wraps a key to the clean room (Azure Key Vault).

1. RS256 by the first certificate of its `x5c`.
2. That certificate chains to the vault's root and is for the vault's host name.
3. The answer is to our request: same nonce, same key name in the same vault.
4. The key is wrapped by the algorithm that was asked for.
"""

from __future__ import annotations

import base64
import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from clients.api.errors import UntrustedAnswerError
from policies.attestation.certificate import load_certificate
from policies.attestation.der import serial_number
from policies.attestation.runtime import decode_base64url
from policies.errors import DocumentError, EvidenceError
from policies.wire.base import load_json

WRAP_ALGORITHM: Final = "RSA_AES_KEY_WRAP_256"
"""RSA-OAEP-256 around an AES key, AES-KWP around the secret."""
MAX_RELEASE_BYTES: Final = 128 * 1024
_MAX_CHAIN: Final = 8


@dataclass(frozen=True)
class WrappedKey:
    """A key that only the clean room can unwrap."""

    kid: str
    """URL of key and version in its vault."""
    kty: str
    """`RSA-HSM` or `oct-HSM`."""
    algorithm: str
    ciphertext: bytes = field(repr=False)


def verify_release(
    jws: str,
    *,
    vault_url: str,
    name: str,
    nonce: str,
    now: datetime,
    ca_file: Path | None = None,
    algorithm: str = WRAP_ALGORITHM,
) -> WrappedKey:
    """Return the wrapped key of a vault's answer.

    Args:
        jws: What the vault answered.
        vault_url: Where it was asked.
        name: Key that was asked for.
        nonce: What was sent along.
        now: Instant at which the vault's certificate must be valid.
        ca_file: PEM of the root of the vault's certificates; public roots without it.
        algorithm: How the key was to be wrapped.

    Raises:
        UntrustedAnswerError: naming what does not hold.
    """
    header, payload, signed, signature = _split(jws)
    if header.get("alg") != "RS256":
        raise UntrustedAnswerError("release.alg", expected="RS256", got=header.get("alg"))
    chain = _chain(header.get("x5c"))
    # (1)
    key = chain[0].public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise UntrustedAnswerError(
            "release.x5c", expected="RSA of 2048 bits or more", got="another key"
        )
    try:
        key.verify(signature, signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise UntrustedAnswerError(
            "release.signature",
            expected="signed by the certificate's key",
            got="an invalid signature",
        ) from None
    # (2)
    _verify_host(chain, host=urlsplit(vault_url).hostname or "", now=now, ca_file=ca_file)
    # (3)
    bundle, kid = _answered(payload, vault_url=vault_url, name=name, nonce=nonce)
    # (4)
    return _wrapped(bundle, kid=kid, algorithm=algorithm)


def _split(jws: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if len(jws) > MAX_RELEASE_BYTES:
        raise UntrustedAnswerError(
            "release", expected=f"at most {MAX_RELEASE_BYTES} bytes", got=len(jws)
        )
    parts = jws.split(".")
    if len(parts) != 3:
        raise UntrustedAnswerError("release", expected="three parts", got=len(parts))
    header, payload, signature = (_decode(part, "release") for part in parts)
    return _json(header), _json(payload), f"{parts[0]}.{parts[1]}".encode("ascii"), signature


def _chain(value: object) -> list[x509.Certificate]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_CHAIN:
        raise UntrustedAnswerError("release.x5c", expected="certificates", got=type(value).__name__)
    try:
        return [load_certificate(base64.b64decode(item, validate=True)) for item in value]
    except (EvidenceError, ValueError, TypeError):
        raise UntrustedAnswerError(
            "release.x5c", expected="certificates", got="other data"
        ) from None


def _verify_host(
    chain: list[x509.Certificate], *, host: str, now: datetime, ca_file: Path | None
) -> None:
    roots = _roots(Path(ca_file or certifi.where()))
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    verifier = PolicyBuilder().store(Store(roots)).time(now).build_server_verifier(subject)
    try:
        verifier.verify(chain[0], chain[1:])
    except VerificationError as error:
        raise UntrustedAnswerError(
            "release.x5c",
            expected=f"a certificate of {host} under the vault's root",
            got=str(error),
        ) from None


def _roots(path: Path) -> list[x509.Certificate]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=path)
    encoded = context.get_ca_certs(binary_form=True)
    # One public root has serial number 0, which the library announces to refuse.
    return [x509.load_der_x509_certificate(item) for item in encoded if serial_number(item) > 0]


def _answered(
    payload: dict[str, Any], *, vault_url: str, name: str, nonce: str
) -> tuple[dict[str, Any], str]:
    request, released = _object(payload, "request"), _object(_object(payload, "response"), "key")
    bundle = _object(released, "key")
    if request.get("nonce") != nonce:
        raise UntrustedAnswerError("release.nonce", expected=nonce, got=request.get("nonce"))
    prefix = f"{vault_url.rstrip('/')}/keys/{name}/"
    kid = bundle.get("kid")
    if not isinstance(kid, str) or not kid.startswith(prefix) or "/" in kid[len(prefix) :]:
        raise UntrustedAnswerError("release.kid", expected=f"{prefix}<version>", got=kid)
    return bundle, kid


def _wrapped(bundle: dict[str, Any], *, kid: str, algorithm: str) -> WrappedKey:
    inner = _json(_decode(bundle.get("key_hsm"), "release.key_hsm"))
    header = _object(inner, "header")
    if (header.get("enc"), header.get("alg")) != (algorithm, "dir"):
        raise UntrustedAnswerError("release.enc", expected=algorithm, got=header.get("enc"))
    kty = bundle.get("kty")
    if kty not in {"RSA-HSM", "RSA", "oct-HSM", "oct"}:
        raise UntrustedAnswerError("release.kty", expected="RSA-HSM or oct-HSM", got=kty)
    return WrappedKey(kid, kty, algorithm, _decode(inner.get("ciphertext"), "release.ciphertext"))


def _decode(text: object, what: str) -> bytes:
    try:
        return decode_base64url(text, claim=what)
    except EvidenceError as error:
        raise UntrustedAnswerError(what, expected=error.expected, got=error.got) from None


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = load_json(data, kind="release", limit=MAX_RELEASE_BYTES)
    except DocumentError as error:
        raise UntrustedAnswerError(
            "release", expected="strict JSON", got=error.problems[0].message
        ) from None
    if not isinstance(value, dict):
        raise UntrustedAnswerError("release", expected="a JSON object", got=type(value).__name__)
    return value


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    if not isinstance(inner, dict):
        raise UntrustedAnswerError(
            f"release.{name}", expected="an object", got=type(inner).__name__
        )
    return inner
