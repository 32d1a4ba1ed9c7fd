"""The keys of one log, certified by its operator's root: made once, verified by everybody.

Four keys: the root, kept offline; one that signs the service's statements; one for receipts; one
for checkpoints. A leaf certificate names its purpose (extended key usage) and its log (alternative
name), so that no leaf serves another purpose or another log. Only the root's fingerprint has to be
known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger import document
from ledger.chain import (
    MAX_CERTIFICATE_BYTES,
    check_chain_validity,
    extension,
    load_chain,
    may_sign,
    verify_chain,
)
from ledger.checkpoint import check_origin
from ledger.did import did_x509_for
from ledger.errors import FormatError, IdentityError
from ledger.identity import Identity, PublicKey
from ledger.receipt import TrustedKeys

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_KEYS = 16
"""Certificates of one purpose: the key in use and retired ones, whose receipts still count."""

_VERSION = "1.0"
_KEYS = ("version", "origin", "root", "statement", "receipt", "checkpoint")


class Purpose(StrEnum):
    """What a leaf certificate's key is for; the values are names in the trust document."""

    STATEMENT = "statement"
    RECEIPT = "receipt"
    CHECKPOINT = "checkpoint"


# Object identifiers under 2.25 are UUIDs and need no registration (X.667).
PURPOSE_OIDS: Mapping[Purpose, str] = {
    Purpose.STATEMENT: "2.25.183419347757933517598158175668053208606",
    Purpose.RECEIPT: "2.25.331805256560963488003862999137509749226",
    Purpose.CHECKPOINT: "2.25.208872649920779227283573666373928364135",
}


@dataclass(frozen=True)
class LogKeys:
    """What a running log signs with, and the document by which others trust it."""

    origin: str
    identity: Identity
    """Signs the service's statements."""
    receipt_key: ec.EllipticCurvePrivateKey = field(repr=False)
    checkpoint_key: Ed25519PrivateKey = field(repr=False)
    document: bytes = field(repr=False)
    """The trust document; public."""


@dataclass(frozen=True)
class TrustedLog:
    """A log whose keys are proven to be certified by a known root."""

    origin: str
    service: str
    """DID of the service: issuer of its statements."""
    root_fingerprint: str
    """SHA-256 of the root certificate, 64 hexadecimal digits."""
    keys: TrustedKeys
    checkpoint_keys: tuple[Ed25519PublicKey, ...] = field(repr=False)
    document: bytes = field(repr=False)

    @classmethod
    def from_document(cls, data: bytes, *, root_fingerprint: str, at: int) -> TrustedLog:
        """Return the log that `data` describes, if the root with this fingerprint certifies it.

        (1) The root is the pinned one. (2) Each leaf is issued by it, valid, and may sign. (3) Each
        leaf is for the purpose under which it is listed, and for this log. (4) Its key is of the
        type of that purpose.

        Args:
            data: The trust document.
            root_fingerprint: SHA-256 of the root certificate in DER, 64 lowercase hexadecimal
                digits.
            at: Time at which the certificates must be valid, seconds since 1970.

        Raises:
            FormatError: If `data` is no trust document.
            IdentityError: If a check fails.
        """
        parsed = _Document.parse(data)
        # (1)
        got = load_chain([parsed.root])[0].fingerprint(hashes.SHA256()).hex()
        if got != root_fingerprint:
            raise IdentityError("root fingerprint", expected=root_fingerprint, got=got)
        # (2) to (4)
        services = {
            _service_did(_leaf(parsed, der=der, purpose=Purpose.STATEMENT, at=at))
            for der in parsed.statement
        }
        if len(services) != 1:
            raise IdentityError("service", expected="one DID", got=", ".join(sorted(services)))
        receipt = [
            _ec_key(_leaf(parsed, der=der, purpose=Purpose.RECEIPT, at=at)[0])
            for der in parsed.receipt
        ]
        checkpoint = [
            _ed25519_key(_leaf(parsed, der=der, purpose=Purpose.CHECKPOINT, at=at)[0])
            for der in parsed.checkpoint
        ]
        return cls(
            origin=parsed.origin,
            service=services.pop(),
            root_fingerprint=got,
            keys=TrustedKeys.of(parsed.origin, *receipt),
            checkpoint_keys=tuple(checkpoint),
            document=data,
        )


def log_subject(origin: str) -> str:
    """Return the subject of statements about the log itself."""
    return f"urn:depa:log:{origin}"


def root_fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in DER as 64 hexadecimal digits.

    Raises:
        FormatError: If it is no certificate.
    """
    return load_chain([certificate])[0].fingerprint(hashes.SHA256()).hex()


def issue_root(
    key: ec.EllipticCurvePrivateKey, *, organization: str, not_before: int, not_after: int
) -> bytes:
    """Return the self-signed certificate (DER) of an operator's root key.

    Args:
        key: P-256; kept offline after the log's keys are issued.
        organization: Name of the operator.
        not_before: Start of validity, seconds since 1970.
        not_after: End of validity, seconds since 1970.
    """
    name = _name(organization, "DEPA service root")
    builder = _certificate(
        name, issuer=name, key=key.public_key(), not_before=not_before, not_after=not_after
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _der(builder.sign(key, hashes.SHA256()))


def issue_log_keys(
    root_key: ec.EllipticCurvePrivateKey,
    *,
    root: bytes,
    origin: str,
    not_before: int,
    not_after: int,
) -> LogKeys:
    """Return fresh keys for the log `origin`, certified by the root, and the trust document.

    Keeping the private keys safe is the caller's.

    Args:
        root_key: Private key of `root`.
        root: The root certificate in DER (see `issue_root`).
        origin: Name of the log; no spaces, no '+'.
        not_before: Start of the leaves' validity, seconds since 1970.
        not_after: End of the leaves' validity, seconds since 1970.

    Raises:
        FormatError: If `origin` cannot name a log or `root` is no certificate.
        IdentityError: If `root_key` is not the root's.
    """
    check_origin(origin)
    statement_key, receipt_key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    checkpoint_key = Ed25519PrivateKey.generate()
    period = {"not_before": not_before, "not_after": not_after}
    public: dict[Purpose, PublicKey] = {
        Purpose.STATEMENT: statement_key.public_key(),
        Purpose.RECEIPT: receipt_key.public_key(),
        Purpose.CHECKPOINT: checkpoint_key.public_key(),
    }
    leaves = {
        purpose: _issue_leaf(root_key, root=root, origin=origin, purpose=purpose, key=key, **period)
        for purpose, key in public.items()
    }
    content: dict[str, Any] = {
        "version": _VERSION,
        "origin": origin,
        "root": document.to_base64(root),
    }
    content |= {purpose.value: [document.to_base64(leaf)] for purpose, leaf in leaves.items()}
    data = document.encode(content)
    TrustedLog.from_document(data, root_fingerprint=root_fingerprint(root), at=not_before)
    chain = (leaves[Purpose.STATEMENT], root)
    identity = Identity(did=_service_did(load_chain(chain)), chain=chain, private_key=statement_key)
    return LogKeys(origin, identity, receipt_key, checkpoint_key, data)


@dataclass(frozen=True)
class _Document:
    origin: str
    root: bytes
    statement: tuple[bytes, ...]
    receipt: tuple[bytes, ...]
    checkpoint: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes) -> _Document:
        what = "trust document"
        value = document.parse(data, what=what, limit=MAX_DOCUMENT_BYTES)
        document.require_keys(value, what=what, keys=_KEYS)
        if value["version"] != _VERSION:
            raise FormatError(f"{what}: version {value['version']!r} is not {_VERSION!r}")
        if not isinstance(value["origin"], str):
            raise FormatError(f"{what}: origin is not text")
        lists = {}
        for purpose in Purpose:
            items = value[purpose.value]
            if not isinstance(items, list) or not 1 <= len(items) <= MAX_KEYS:
                raise FormatError(
                    f"{what}: {purpose.value} is not a list of 1 to {MAX_KEYS} certificates"
                )
            lists[purpose.value] = tuple(
                _certificate_bytes(item, what=f"{what}: {purpose.value}") for item in items
            )
        return cls(
            check_origin(value["origin"]),
            _certificate_bytes(value["root"], what=f"{what}: root"),
            **lists,
        )


def _certificate_bytes(value: object, *, what: str) -> bytes:
    return document.from_base64(value, what=what, limit=MAX_CERTIFICATE_BYTES)


def _leaf(
    parsed: _Document, *, der: bytes, purpose: Purpose, at: int
) -> tuple[x509.Certificate, ...]:
    chain = (der, parsed.root)
    certificates = load_chain(chain)
    verify_chain(certificates)
    check_chain_validity(chain, at=at)
    leaf = certificates[0]
    if not may_sign(leaf):
        raise IdentityError(
            f"{purpose.value} certificate: key usage", expected="digitalSignature", got="none"
        )
    usages = [usage.dotted_string for usage in extension(leaf, x509.ExtendedKeyUsage) or ()]
    if usages != [PURPOSE_OIDS[purpose]]:
        raise IdentityError(
            f"{purpose.value} certificate: purpose", expected=PURPOSE_OIDS[purpose], got=usages
        )
    names = extension(leaf, x509.SubjectAlternativeName)
    got = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if got != [log_subject(parsed.origin)]:
        raise IdentityError(
            f"{purpose.value} certificate: log", expected=log_subject(parsed.origin), got=got
        )
    return certificates


def _service_did(certificates: Sequence[x509.Certificate]) -> str:
    """Pin root, organization and purpose: no other leaf can speak for the service."""
    _ec_key(certificates[0])
    chain = [_der(certificate) for certificate in certificates]
    return did_x509_for(chain, subject=("O",), eku=PURPOSE_OIDS[Purpose.STATEMENT])


def _ec_key(leaf: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise IdentityError("certificate: key", expected="P-256", got=type(key).__name__)
    return key


def _ed25519_key(leaf: x509.Certificate) -> Ed25519PublicKey:
    key = leaf.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise IdentityError("certificate: key", expected="Ed25519", got=type(key).__name__)
    return key


def _issue_leaf(
    root_key: ec.EllipticCurvePrivateKey,
    *,
    root: bytes,
    origin: str,
    purpose: Purpose,
    key: PublicKey,
    not_before: int,
    not_after: int,
) -> bytes:
    issuer = load_chain([root])[0].subject
    organization = str(issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)[0].value)
    subject = _name(organization, f"DEPA log {purpose.value} key")
    builder = _certificate(
        subject, issuer=issuer, key=key, not_before=not_before, not_after=not_after
    )
    usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(PURPOSE_OIDS[purpose])])
    log = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(log_subject(origin))])
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(usage, critical=True).add_extension(log, critical=False)
    return _der(builder.sign(root_key, hashes.SHA256()))


def _certificate(
    subject: x509.Name,
    *,
    issuer: x509.Name,
    key: PublicKey,
    not_before: int,
    not_after: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(not_before, UTC))
        .not_valid_after(datetime.fromtimestamp(not_after, UTC))
    )


def _name(organization: str, common_name: str) -> x509.Name:
    oid = x509.NameOID
    return x509.Name(
        [
            x509.NameAttribute(oid.ORGANIZATION_NAME, organization),
            x509.NameAttribute(oid.COMMON_NAME, common_name),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
