"""Secure key release: wrap a key to an attested environment, and sign the answer.

The wrapped key is RSA-OAEP of an ephemeral AES key, followed by the secret wrapped under it with
AES-KWP (RFC 5649); PKCS #11 calls the pair CKM_RSA_AES_KEY_WRAP.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.local.keyfile import read_key
from deploy.local.tls import TlsFiles
from deploy.local.vault.errors import bad_request, forbidden
from deploy.local.vault.keys import KeyVersion
from policies.attestation.maa import EvidenceClaims
from policies.attestation.release_policy import parse_release_policy, verify_release
from policies.attestation.runtime import encode_base64url, rsa_key
from policies.errors import EvidenceError
from policies.wire.base import canonical_json

ALGORITHMS: Final[Mapping[str, type[HashAlgorithm]]] = {
    "CKM_RSA_AES_KEY_WRAP": SHA1,
    "RSA_AES_KEY_WRAP_256": SHA256,
    "RSA_AES_KEY_WRAP_384": SHA384,
}
API_VERSION: Final = "7.4"
_MAX_NONCE: Final = 512


class TokenVerifier(Protocol):
    """Whatever verifies tokens of the authorities that the vault believes."""

    def verify(self, token: str, *, now: datetime) -> EvidenceClaims:
        """Return what the token proves, or raise EvidenceError."""
        ...


@dataclass(frozen=True)
class ReleaseSigner:
    """The vault's own key: what is released is signed with it."""

    key: rsa.RSAPrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    """Leaf first."""

    @classmethod
    def load(cls, files: TlsFiles) -> ReleaseSigner:
        """Read key and chain, see `deploy.local.tls`."""
        key = read_key(files.key)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("releases are signed with RSA")
        return cls(key, tuple(x509.load_pem_x509_certificates(files.certificate.read_bytes())))

    def sign(self, payload: Mapping[str, Any]) -> str:
        """Return a compact JWS with the certificate chain in its header."""
        encoded = [certificate.public_bytes(Encoding.DER) for certificate in self.chain]
        thumbprint = encode_base64url(self.chain[0].fingerprint(SHA256()))
        header = {
            "kid": thumbprint,
            "x5t#S256": thumbprint,
            "x5c": [base64.b64encode(item).decode() for item in encoded],
        }
        return jwt.encode(dict(payload), self.key, algorithm="RS256", headers=header)


def verify_request(
    key: KeyVersion, body: Mapping[str, Any], *, verifier: TokenVerifier, now: datetime
) -> EvidenceClaims:
    """Return the evidence under which a key may be released.

    Raises:
        VaultError: if the key, the token or the policy does not allow it; the reason names the
        claim.
    """
    target, nonce, algorithm = body.get("target"), body.get("nonce"), _algorithm(body)
    if not isinstance(target, str) or not target:
        raise bad_request("target: expected an attestation token")
    if not isinstance(nonce, str | None) or len(nonce or "") > _MAX_NONCE:
        raise bad_request(f"nonce: expected at most {_MAX_NONCE} characters")
    if algorithm not in ALGORITHMS:
        raise bad_request(f"enc: expected one of {sorted(ALGORITHMS)}")
    if not key.exportable or key.policy is None:
        raise forbidden("the key is not exportable", reason="KeyNotExportable")
    moment = int(now.timestamp())
    if not key.enabled or moment < (key.not_before or 0) or moment >= (key.expires or moment + 1):
        raise forbidden("the key is disabled, expired or not yet valid", reason="KeyDisabled")
    try:
        evidence = verifier.verify(target, now=now)
        verify_release(parse_release_policy(key.policy.encode()), claims=evidence.claims)
    except EvidenceError as error:
        raise forbidden(f"the release policy is not met: {error}", reason=error.claim) from None
    return evidence


def release(
    key: KeyVersion,
    material: bytes,
    *,
    evidence: EvidenceClaims,
    body: Mapping[str, Any],
    signer: ReleaseSigner,
    url: str,
) -> str:
    """Return the signed answer that holds the key wrapped to the attested environment.

    Raises:
        VaultError: if the environment has no key to wrap to.
    """
    algorithm, kid = _algorithm(body), key.kid(url)
    ciphertext = wrap_key(material, to=_target_key(evidence.runtime), algorithm=algorithm)
    wrapped = {
        "schema_version": "1.0",
        "header": {"kid": kid, "alg": "dir", "enc": algorithm},
        "ciphertext": encode_base64url(ciphertext),
    }
    bundle = key.bundle(url)
    bundle["key"]["key_hsm"] = encode_base64url(canonical_json(wrapped))
    request = {"api-version": API_VERSION, "enc": algorithm, "kid": kid, "nonce": body.get("nonce")}
    return signer.sign({"request": request, "response": {"key": bundle}})


def wrap_key(material: bytes, *, to: rsa.RSAPublicKey, algorithm: str) -> bytes:
    """Return a secret wrapped to an RSA key."""
    digest = ALGORITHMS[algorithm]
    ephemeral = secrets.token_bytes(32)
    oaep = padding.OAEP(mgf=padding.MGF1(digest()), algorithm=digest(), label=None)
    return to.encrypt(ephemeral, oaep) + aes_key_wrap_with_padding(ephemeral, material)


def _algorithm(body: Mapping[str, Any]) -> str:
    return str(body.get("enc") or "CKM_RSA_AES_KEY_WRAP")


def _target_key(runtime: Mapping[str, Any]) -> rsa.RSAPublicKey:
    # Azure Key Vault takes the first RSA key that is meant for encryption.
    keys = runtime.get("keys")
    for jwk in keys if isinstance(keys, list) else []:
        if not isinstance(jwk, Mapping) or jwk.get("kty") != "RSA" or not jwk.get("kid"):
            continue
        operations = jwk.get("key_ops")
        if jwk.get("key_use") == "enc" or (
            isinstance(operations, list) and "encrypt" in operations
        ):
            try:
                return rsa_key(jwk, claim="x-ms-runtime.keys")
            except EvidenceError as error:
                raise forbidden(str(error), reason=error.claim) from None
    raise forbidden("the environment has no RSA key for encryption", reason="x-ms-runtime.keys")
