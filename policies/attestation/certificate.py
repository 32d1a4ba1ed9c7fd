"""X.509 certificates of others, as the library will go on to read them."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from policies.attestation.der import serial_number
from policies.errors import EvidenceError


def load_certificate(encoded: bytes) -> x509.Certificate:
    """Return a certificate (DER) whose public key can be read; nothing else of it is judged.

    A serial number that RFC 5280 section 4.1.2.2 forbids is refused before the library sees it,
    which would warn, and announces to refuse.

    Raises:
        EvidenceError: if it is no such certificate.
    """
    if serial_number(encoded) < 1:
        raise EvidenceError("certificate.serial", expected="a positive number", got="another one")
    try:
        certificate = x509.load_der_x509_certificate(encoded)
        certificate.public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise EvidenceError("certificate", expected="X.509", got="another structure") from None
    return certificate
