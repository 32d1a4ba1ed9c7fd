"""Parties, certificates and logs for tests: real keys, a fixed time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ledger.identity import Identity, PrivateKey, did_jwk_for, did_x509_for
from ledger.trust import LogKeys, TrustedLog, issue_log_keys, issue_root, root_fingerprint

NOW = 1_800_000_000
YEAR = 365 * 86_400
ORIGIN = "log.example/depa"
SUBJECT = "urn:depa:contract:" + "ab" * 32
VECTORS = Path(__file__).parents[2] / "vectors"

P256, P384 = ec.SECP256R1(), ec.SECP384R1()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )


def certificate(
    key: PrivateKey | RSAPrivateKey,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    signer: PrivateKey | RSAPrivateKey,
    authority: bool | None = False,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    not_before: int = NOW - YEAR,
    not_after: int = NOW + YEAR,
    algorithm: hashes.SHA256 | hashes.SHA3_256 | None = None,
    path_length: int | None = None,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
    )
    if authority is not None:
        basic = x509.BasicConstraints(ca=authority, path_length=path_length)
        builder = builder.add_extension(basic, critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    if algorithm is None and not isinstance(signer, Ed25519PrivateKey):
        algorithm = hashes.SHA256()
    return builder.sign(signer, algorithm).public_bytes(serialization.Encoding.DER)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not digital_signature and not key_cert_sign,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def party(
    organization: str = "Hospital A",
    *,
    key: PrivateKey | None = None,
    not_before: int = NOW - YEAR,
    not_after: int = NOW + YEAR,
) -> Identity:
    """A party with its own root and one leaf, known by its organization."""
    root_key, leaf_key = ec.generate_private_key(P256), key or ec.generate_private_key(P256)
    root_name, leaf_name = name(organization, "Root"), name(organization, "Signing")
    root = certificate(
        root_key,
        subject=root_name,
        issuer=root_name,
        signer=root_key,
        authority=True,
        not_before=not_before,
        not_after=not_after,
    )
    leaf = certificate(
        leaf_key,
        subject=leaf_name,
        issuer=root_name,
        signer=root_key,
        not_before=not_before,
        not_after=not_after,
    )
    return Identity(did_x509_for([leaf, root]), (leaf, root), leaf_key)


def enclave() -> Identity:
    """An ephemeral key without certificates."""
    key = ec.generate_private_key(P256)
    return Identity(did_jwk_for(key.public_key()), (), key)


def log_keys(
    *,
    origin: str = ORIGIN,
    organization: str = "Operator",
    root_key: ec.EllipticCurvePrivateKey | None = None,
) -> tuple[LogKeys, TrustedLog]:
    root_key = root_key or ec.generate_private_key(P256)
    root = issue_root(
        root_key, organization=organization, not_before=NOW - YEAR, not_after=NOW + YEAR
    )
    keys = issue_log_keys(
        root_key, root=root, origin=origin, not_before=NOW - YEAR, not_after=NOW + YEAR
    )
    fingerprint = root_fingerprint(root)
    return keys, TrustedLog.from_document(keys.document, root_fingerprint=fingerprint, at=NOW)


def signed(
    signer: Identity,
    *,
    document: bytes = b"{}",
    kind: str = "signature",
    subject: str = SUBJECT,
    issued_at: int = NOW,
) -> bytes:
    return signer.issue(
        payload_hash=digest(document), kind=kind, subject=subject, issued_at=issued_at
    )
