"""Verify who endorses the utility VM: a COSE_Sign1 that names a launch measurement (RFC 9052).

The signing certificates of published endorsements have expired, and endorsements outlive them by
design: no validity date is checked. What counts is the pinned root, the purpose of the leaf, and a
floor for the security version.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384

from ledger.did import resolve_x509
from ledger.errors import LedgerError
from policies.errors import DocumentError, EvidenceError
from policies.wire.base import load_json

MAX_ENDORSEMENT_BYTES: Final = 64 * 1024
MICROSOFT_UVM_ISSUER: Final = (
    "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2"
)
MICROSOFT_UVM_FEED: Final = "ContainerPlat-AMD-UVM"
MINIMUM_SVN: Final = 100
"""Production utility VMs of Azure Container Instances start here."""
_PS384: Final = -38
_MEASUREMENT: Final = "x-ms-sevsnpvm-launchmeasurement"
_SVN: Final = "x-ms-sevsnpvm-guestsvn"


@dataclass(frozen=True)
class Endorser:
    """Who may endorse a launch measurement, and under which product name."""

    issuer: str
    """did:x509 of a pinned root and the purpose of the leaf."""
    feed: str
    minimum_svn: int = MINIMUM_SVN


MICROSOFT_UVM: Final = Endorser(MICROSOFT_UVM_ISSUER, MICROSOFT_UVM_FEED)


@dataclass(frozen=True)
class Endorsement:
    """A launch measurement that its maker vouches for."""

    issuer: str
    feed: str
    svn: int
    measurement: bytes


def verify_endorsement(
    data: bytes, *, measurement: bytes, endorsers: Collection[Endorser] = (MICROSOFT_UVM,)
) -> Endorsement:
    """Return the endorsement of a measurement by one of the endorsers.

    Args:
        data: Tagged COSE_Sign1.
        measurement: The 48 bytes of the verified report.
        endorsers: Who is believed.

    Raises:
        EvidenceError: naming what does not hold.
    """
    protected, payload, signature, header = _parse(data)
    # (1) Issuer and feed are ones that we believe.
    issuer, feed = header.get("iss"), header.get("feed")
    trusted = next((who for who in endorsers if (who.issuer, who.feed) == (issuer, feed)), None)
    if trusted is None:
        raise EvidenceError(
            "uvm.issuer",
            expected=f"one of {[(who.issuer, who.feed) for who in endorsers]}",
            got=(issuer, feed),
        )
    # (2) The chain ends in the root that the issuer names, its leaf has the purpose that the
    # issuer names.
    leaf = _verify_issuer(trusted.issuer, chain=header.get(33))
    # (3) The leaf signed header and payload.
    if header.get(1) != _PS384:
        raise EvidenceError("uvm.alg", expected="PS384", got=header.get(1))
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", payload])
    try:
        leaf.verify(signature, to_be_signed, padding.PSS(padding.MGF1(SHA384()), 48), SHA384())
    except InvalidSignature:
        raise EvidenceError(
            "uvm.signature", expected=f"signed by {feed}", got="an invalid signature"
        ) from None
    # (4) The payload names this measurement, and is not an old one.
    endorsed, svn = _read_payload(payload)
    if endorsed != measurement:
        raise EvidenceError("uvm.measurement", expected=endorsed.hex(), got=measurement.hex())
    if svn < trusted.minimum_svn:
        raise EvidenceError("uvm.svn", expected=f"at least {trusted.minimum_svn}", got=svn)
    return Endorsement(trusted.issuer, trusted.feed, svn, endorsed)


def _parse(data: bytes) -> tuple[bytes, bytes, bytes, dict[object, Any]]:
    if len(data) > MAX_ENDORSEMENT_BYTES:
        raise EvidenceError(
            "uvm.length", expected=f"at most {MAX_ENDORSEMENT_BYTES}", got=len(data)
        )
    message = _cbor(data)
    if not isinstance(message, cbor2.CBORTag) or message.tag != 18:
        raise EvidenceError("uvm.cose", expected="a tagged COSE_Sign1", got=type(message).__name__)
    parts = message.value
    if not isinstance(parts, Sequence) or len(parts) != 4:
        raise EvidenceError("uvm.cose", expected="four parts", got=type(parts).__name__)
    protected, _, payload, signature = parts
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise EvidenceError("uvm.cose", expected="byte strings", got="other types")
    header = _cbor(protected)
    if not isinstance(header, dict):
        raise EvidenceError("uvm.header", expected="a map", got=type(header).__name__)
    if 2 in header:
        raise EvidenceError("uvm.crit", expected="no critical header", got=header[2])
    return protected, payload, signature, header


def _cbor(data: bytes) -> object:
    stream = io.BytesIO(data)
    try:
        value: object = cbor2.CBORDecoder(
            stream, max_depth=16, allow_duplicate_keys=False, read_size=1
        ).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
        raise EvidenceError("uvm.cbor", expected="CBOR", got=type(error).__name__) from None
    if stream.tell() != len(data):
        raise EvidenceError(
            "uvm.cbor", expected="nothing after the value", got=f"{len(data) - stream.tell()} bytes"
        )
    return value


def _verify_issuer(did: str, *, chain: object) -> rsa.RSAPublicKey:
    if not isinstance(chain, Sequence) or not all(isinstance(item, bytes) for item in chain):
        raise EvidenceError("uvm.x5chain", expected="certificates", got=type(chain).__name__)
    try:
        resolved = resolve_x509(did, chain=tuple(chain))
    except LedgerError as error:
        raise EvidenceError("uvm.x5chain", expected=f"a chain of {did}", got=str(error)) from None
    key = resolved.key
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 3072 or not resolved.may_sign:
        raise EvidenceError("uvm.key", expected="RSA of 3072 bits for signing", got="another key")
    return key


def _read_payload(payload: bytes) -> tuple[bytes, int]:
    try:
        document = load_json(payload, kind="endorsement", limit=16 * 1024)
    except DocumentError as error:
        raise EvidenceError(
            "uvm.payload", expected="strict JSON", got=error.problems[0].message
        ) from None
    fields = document if isinstance(document, dict) else {}
    measurement, svn = fields.get(_MEASUREMENT), fields.get(_SVN)
    if not isinstance(measurement, str) or not re.fullmatch(r"[0-9a-f]{96}", measurement):
        raise EvidenceError(
            "uvm.payload", expected=f"{_MEASUREMENT}: 96 hexadecimal digits", got="another form"
        )
    # The version is a text in all endorsements published so far.
    if not isinstance(svn, str) or not re.fullmatch(r"[0-9]{1,9}", svn):
        raise EvidenceError(
            "uvm.payload", expected=f"{_SVN}: a number in a text", got="another form"
        )
    return bytes.fromhex(measurement), int(svn)
