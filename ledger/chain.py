"""X.509 chains: each certificate vouches for the one before (RFC 5280 section 6, no revocation).

Time is apart, in `check_chain_validity`, because a statement's chain is judged at the time of the
statement. Whom a chain belongs to is decided in `ledger.did`; which roots are trusted is the
caller's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ledger.constraints import check_names
from ledger.errors import FormatError, IdentityError

MAX_CHAIN = 8
MAX_CERTIFICATE_BYTES = 16 * 1024

_HANDLED = (
    x509.BasicConstraints,
    x509.KeyUsage,
    x509.ExtendedKeyUsage,
    x509.SubjectAlternativeName,
    x509.NameConstraints,
)
_HASHES = hashes.SHA256 | hashes.SHA384 | hashes.SHA512
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    # Where warnings are errors, the library raises what `_check_form` refuses everywhere.
    UserWarning,
)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MIN_RSA_BITS = 2048
_NAME_BYTES = {
    x509.NameOID.COUNTRY_NAME: (2, 2),
    x509.NameOID.JURISDICTION_COUNTRY_NAME: (2, 2),
    x509.NameOID.COMMON_NAME: (1, 64),
}
"""How long each of these may be (RFC 5280 appendix A.1)."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class _UnfitError(Exception):
    """A certificate that the library reads and RFC 5280 forbids."""


@dataclass(frozen=True)
class Validity:
    """A period, both ends included, in seconds since 1970 (UTC)."""

    starts_at: int
    ends_at: int


def load_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Return the certificates of `chain` (DER, leaf first, root last), parsed but not verified.

    Raises:
        FormatError: If there are none or too many, or one is no certificate of RFC 5280.
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise FormatError(f"certificate chain: 1 to {MAX_CHAIN} certificates, not {len(chain)}")
    certificates = []
    for position, der in enumerate(chain):
        if len(der) > MAX_CERTIFICATE_BYTES:
            raise FormatError(
                f"certificate {position}: at most {MAX_CERTIFICATE_BYTES} bytes, not {len(der)}"
            )
        try:
            certificate = _load(der)
        except _UnfitError as error:
            raise FormatError(f"certificate {position}: {error}") from error
        except _UNREADABLE as error:
            raise FormatError(
                f"certificate {position}: not X.509 DER ({type(error).__name__})"
            ) from error
        certificates.append(certificate)
    return tuple(certificates)


@functools.lru_cache(maxsize=256)
def _load(der: bytes) -> x509.Certificate:
    """Parse a certificate; the same few parties come again and again."""
    certificate = x509.load_der_x509_certificate(der)
    # The library parses a part, and raises, when it is first read: what is read later is read here.
    _ = (
        certificate.subject,
        certificate.issuer,
        certificate.extensions,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.signature_hash_algorithm,
        certificate.public_key(),
    )
    _check_form(certificate)
    return certificate


def _check_form(certificate: x509.Certificate) -> None:
    """Raise where the library would only warn, once a process."""
    if certificate.serial_number < 1:
        # RFC 5280 section 4.1.2.2
        raise _UnfitError("the serial number is not positive")
    for attribute in (*certificate.subject, *certificate.issuer):
        value = attribute.value
        length = len(value.encode() if isinstance(value, str) else value)
        least, most = _NAME_BYTES.get(attribute.oid, (0, length))
        if not least <= length <= most:
            name = attribute.rfc4514_attribute_name
            raise _UnfitError(f"{name} has {length} bytes, not {least} to {most}")


def verify_chain(certificates: Sequence[x509.Certificate]) -> None:
    """Raise unless each certificate is issued by the next and the last by itself.

    (1) signatures, (2) authority flag, key usage and path length, (3) name constraints, (4) no
    critical extension that is not understood. The caller MUST compare the root, or a certificate
    authority of the chain, with one that it trusts.

    Raises:
        IdentityError: With the position of the certificate, the leaf's being 0.
    """
    if len(certificates) < 2:
        raise IdentityError(
            "certificate chain", expected="at least two certificates", got=len(certificates)
        )
    for position, certificate in enumerate(certificates):
        issuer = certificates[min(position + 1, len(certificates) - 1)]
        _check_issued(certificate, issuer=issuer, position=position)
        _check_extensions(certificate, position=position)
        if position:
            _check_authority(certificate, position=position, below=certificates[1:position])
            constraints = extension(certificate, x509.NameConstraints)
            if constraints is not None:
                for subject in certificates[:position]:
                    check_names(subject, constraints=constraints)


def check_chain_validity(chain: Sequence[bytes], *, at: int) -> None:
    """Raise unless every certificate is valid at `at` (seconds since 1970, UTC).

    Raises:
        IdentityError: With the certificate's position and its period.
    """
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise IdentityError("time", expected="seconds since 1970", got=at) from error
    for position, certificate in enumerate(load_chain(chain)):
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not start <= moment <= end:
            raise IdentityError(
                f"certificate {position}: validity",
                expected=f"{start.isoformat()} to {end.isoformat()}",
                got=moment.isoformat(),
            )


def chain_validity(chain: Sequence[bytes]) -> Validity:
    """Return the period in which every certificate of `chain` is valid.

    It is empty, ending before it starts, if there is no such moment.

    Raises:
        FormatError: If there are no certificates or too many, or one is none.
    """
    certificates = load_chain(chain)
    return Validity(
        max(int(each.not_valid_before_utc.timestamp()) for each in certificates),
        min(int(each.not_valid_after_utc.timestamp()) for each in certificates),
    )


def may_sign(certificate: x509.Certificate) -> bool:
    """Whether the certificate's key usage, if any is stated, covers signatures."""
    usage = extension(certificate, x509.KeyUsage)
    return usage is None or usage.digital_signature


def may_agree(certificate: x509.Certificate) -> bool:
    """Whether the certificate's key usage, if any is stated, covers key agreement."""
    usage = extension(certificate, x509.KeyUsage)
    return usage is None or usage.key_agreement


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return the certificate's extension of that kind, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_issued(
    certificate: x509.Certificate, *, issuer: x509.Certificate, position: int
) -> None:
    if not isinstance(certificate.signature_hash_algorithm, _HASHES | None):
        raise IdentityError(
            f"certificate {position}: signature hash",
            expected="SHA-256, SHA-384 or SHA-512",
            got="a weaker one",
        )
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"certificate {position}: issuer",
            expected=f"signed by {issuer.subject.rfc4514_string()!r}",
            got="another name or signature",
            hint="a chain is ordered from the leaf to its self-signed root",
        ) from error


def _check_extensions(certificate: x509.Certificate, *, position: int) -> None:
    for item in certificate.extensions:
        if item.critical and not isinstance(item.value, _HANDLED):
            raise IdentityError(
                f"certificate {position}: critical extension",
                expected="one that is understood",
                got=item.oid.dotted_string,
            )
    key = certificate.public_key()
    strong = (
        (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES)
        or isinstance(key, ed25519.Ed25519PublicKey)
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS)
    )
    if not strong:
        raise IdentityError(
            f"certificate {position}: key",
            expected="NIST P-256 to P-521, Ed25519, or RSA of 2048 bits",
            got="a weaker one",
        )


def _check_authority(
    certificate: x509.Certificate, *, position: int, below: Sequence[x509.Certificate]
) -> None:
    basic, usage = (
        extension(certificate, x509.BasicConstraints),
        extension(certificate, x509.KeyUsage),
    )
    if basic is None or not basic.ca:
        raise IdentityError(
            f"certificate {position}: basic constraints", expected="an authority", got="none"
        )
    if usage is not None and not usage.key_cert_sign:
        raise IdentityError(
            f"certificate {position}: key usage", expected="keyCertSign", got="none"
        )
    depth = sum(each.subject != each.issuer for each in below)
    if basic.path_length is not None and depth > basic.path_length:
        raise IdentityError(
            f"certificate {position}: path length",
            expected=f"at most {basic.path_length}",
            got=depth,
        )
